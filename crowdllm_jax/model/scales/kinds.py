"""Which file answers which kind of scale.

Tasks answered one at a time: `log_prob(given, at)`, `words(levels)`, `draw(at, word, scales)`;
ordered ones are drawn faster, see `ordered.draw`. Ballots, whose tasks are answered together:
`log_prob(scale, utility, levels, log_concentration)`, `words(scale, tasks)`, `draw(scale, utility,
word, log_concentration)` and, for a model of scores, `from_scores(scale, score)`.

Of a ballot that is known in part (level -1: held out) a probability is that of the known tasks
among themselves, given how much they got together: which of them are the best, or how points are
shared.
"""

from types import ModuleType

import jax

from crowdllm_jax.model.scales import (
    continuous,
    k_approval,
    nominal,
    ordered,
    points,
    ranking,
)
from crowdllm_jax.study.scales import (
    Approval,
    Binary,
    Continuous,
    Joint,
    KApproval,
    Nominal,
    Ordinal,
    Points,
    Ranking,
)

SINGLE: dict[type, ModuleType] = {
    Ordinal: ordered,
    Binary: ordered,
    Approval: ordered,
    Continuous: continuous,
    Nominal: nominal,
}
BALLOT: dict[type, ModuleType] = {KApproval: k_approval, Ranking: ranking, Points: points}


def log_ballot(
    scale: Joint, utility: jax.Array, levels: jax.Array, log_concentration: jax.Array
) -> jax.Array:
    """(B, M) log probability of ballots (B, Tb) under utilities (B, M, Tb)."""
    log_chance: jax.Array = BALLOT[type(scale)].log_prob(scale, utility, levels, log_concentration)
    return log_chance


def fill_ballots(scale: Joint, score: jax.Array) -> jax.Array:
    """Valid ballots from scores: (N, T) float -> (N, T) levels, T all tasks of the ballot."""
    ballots: jax.Array = BALLOT[type(scale)].from_scores(scale, score)
    return ballots
