"""Some agents of a persistent crowd as they are before they answer: profiles and beliefs."""

import numpy as np
from flax import nnx

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.design import Design, profile_matrix
from crowdllm_jax.model.persistent.draw import draw_beliefs
from crowdllm_jax.model.persistent.forecast import Panel
from crowdllm_jax.profiles.generator import recruit
from crowdllm_jax.runtime.randomness import seed_halves, split_ids


def panel_of(crowd: Crowd, agents: int, seed: int) -> Panel:
    """The first agents of a population."""
    assert isinstance(crowd.inputs, Design)
    ids = np.arange(agents, dtype=np.int64)
    c = profile_matrix(crowd.codings, recruit(crowd.generator, seed, ids), agents)
    belief = nnx.split(nnx.merge(crowd.graph, crowd.params).belief, nnx.Param)
    standing = draw_beliefs(*belief, seed_halves(seed), split_ids(ids))
    centred = (c - crowd.inputs.centre).astype(np.float32)
    return Panel(centred, np.asarray(standing.z), np.asarray(standing.scale))
