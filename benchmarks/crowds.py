"""Crowds to measure: unfitted networks of the sizes asked for, on random tasks and people.

What sampling costs depends on sizes alone, not on what the weights say.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from crowdllm_jax.model.crowd import Crowd, CvaeInputs
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.decision import Cvae
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.design import make_design
from crowdllm_jax.model.persistent.fit import new_persistent
from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.study.coding import encode, fit_coding
from crowdllm_jax.study.records import Attribute, Participants, Study, Tasks
from crowdllm_jax.study.scales import Ordinal

SCALE = {"rating": Ordinal(levels=(1, 2, 3, 4, 5))}


def make_people(profiles: int, columns: int, random: np.random.Generator) -> tuple[Attribute, ...]:
    """Attributes of `profiles` different people, coded in `columns` columns."""
    sizes = [columns // 4] * 3 + [columns - 3 * (columns // 4)]
    most = int(np.prod(sizes))
    if profiles > most:
        raise SystemExit(f"{columns} profile columns make at most {most} distinct profiles")
    cells = np.unravel_index(random.choice(most, profiles, replace=False), sizes)
    return tuple(
        Attribute(
            f"a{i}", "categorical", tuple(f"{i}{j}" for j in range(size)), own.astype(np.int32)
        )
        for i, (size, own) in enumerate(zip(sizes, cells, strict=True))
    )


def make_crowd(
    config: CvaeConfig | PersistentConfig,
    *,
    tasks: int = 300,
    features: int = 384,
    columns: int = 31,
    profiles: int = 262,
    seed: int = 0,
) -> Crowd:
    """A crowd of random weights that answers `tasks` ratings from 1 to 5."""
    random = np.random.default_rng(seed)
    people = make_people(profiles, columns, random)
    everyone = np.arange(profiles)
    codings = tuple(fit_coding(attribute, everyone) for attribute in people)
    generator = fit_profiles(people, random.uniform(0.2, 1, profiles), ProfilesConfig())
    scale = np.zeros(tasks, np.int32)
    x = np.tanh(random.normal(0, 0.05, (tasks, features))).astype(np.float32)
    ids = tuple(f"task{i:05d}" for i in range(tasks))
    reference = random.uniform(0.2, 0.8, tasks)
    if isinstance(config, CvaeConfig):
        inputs = CvaeInputs(x, reference.astype(np.float32))
        c = encode(codings, people)
        model = Cvae(features, c.shape[1], config, rngs=nnx.Rngs(seed))
        graph, params = nnx.split(model, nnx.Param)
        # Larger than new weights, so that profiles and beliefs matter as in a fitted crowd.
        params["blender"]["third"]["kernel"] = params["blender"]["third"]["kernel"] * 2
        return Crowd(config, graph, params, ids, SCALE, scale, inputs, codings, generator)
    study = Study(
        "random",
        SCALE,
        Tasks(ids, ids, scale, (), x),
        Participants(tuple(f"p{i}" for i in everyone), people, np.ones(profiles)),
        np.repeat(everyone, 1).astype(np.int32),
        (everyone % tasks).astype(np.int32),
        random.integers(0, 5, profiles).astype(float),
    )
    spread = np.exp(random.normal(0, 0.7, (tasks, 5)))
    known = Reference("column", 1 + 4 * reference, spread / spread.sum(1, keepdims=True))
    design = make_design(study, known, codings, np.ones(profiles, bool), config, known=False)
    persistent = new_persistent(design, config, seed)
    for mean in persistent.effects.mean.values():
        mean[...] = jnp.asarray(random.normal(0, 0.1, mean.shape), jnp.float32)
    graph, params = nnx.split(persistent, nnx.Param)
    return Crowd(config, graph, params, ids, SCALE, scale, design, codings, generator)
