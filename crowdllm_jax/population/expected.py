"""What a crowd expects people of given profiles to answer."""

from dataclasses import replace

import numpy as np
from scipy import sparse

from crowdllm_jax.model.crowd import Crowd, numbers_of
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.population.sample import BLOCK, sample_blocks
from crowdllm_jax.profiles.generator import ProfileGenerator, distinct, recruit_rows
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study.records import Attribute

PER_PROFILE, FEWEST = 4000, 200
"""Agents of each distinct profile, and how few there may be."""

BUDGET = 1 << 25
"""Agents beyond which there are fewer of each of many profiles."""

AT_ONCE = 1 << 16
"""Profiles that agents are recruited from at once: recruiting compares numbers of 23 bits."""

SEED = 0


def expected_answers(
    crowd: Crowd,
    profile: tuple[Attribute, ...],
    people: int,
    tasks: np.ndarray,
    level: np.ndarray | None = None,
    *,
    per_profile: int | None = None,
    progress: Progress = silent,
) -> np.ndarray:
    """The mean answer of many agents with each person's profile.

    People with the same profile get the same numbers.

    Args:
      profile: the people's attributes, in the crowd's levels and order (see `coding.recode`).
      people: how many they are. tasks: (T,) indices.
      level: (T,) a level per task, to expect its share instead of the mean of the numbers.
      per_profile: agents of each distinct profile, on average.
    Returns:
      (people, T) float64.
    """
    first, kind = distinct(profile, people)
    if per_profile is None:
        slow = isinstance(crowd.config, CvaeConfig) and crowd.config.semi_implicit
        per_profile = FEWEST if slow else int(np.clip(BUDGET // len(first), FEWEST, PER_PROFILE))
    means = []
    for begin in range(0, len(first), AT_ONCE):
        rows = first[begin : begin + AT_ONCE]
        profiles = tuple(Attribute(a.name, a.kind, a.levels, a.cells[rows]) for a in profile)
        # Agents of these profiles alone, each as likely as the others.
        weight = np.full(len(rows), 1 / len(rows))
        generator = ProfileGenerator("joint", 0.0, profiles, weight, (), (), float(len(rows)))
        # What each would answer if asked: who is asked is not foretold.
        cast = replace(crowd, generator=generator, ask_if={})
        agents = -(-len(rows) * per_profile // BLOCK) * BLOCK
        total, count = np.zeros((len(rows), len(tasks))), np.zeros(len(rows))
        for block in sample_blocks(cast, agents, SEED):
            row = recruit_rows(generator, SEED, block.ids)
            ones = np.ones(len(row))
            member = sparse.csr_array((ones, (row, np.arange(len(row)))), (len(rows), len(row)))
            given = numbers_of(crowd, block.answers) if level is None else block.answers
            given = given[:, tasks]
            total += member @ (given if level is None else given == level).astype(np.float64)
            count += member @ ones
            done = begin + len(rows) * (int(block.ids[-1]) + 1) // agents
            progress("predict profiles", done, len(first))
        means.append(total / count[:, None])
    expected: np.ndarray = np.concatenate(means)[kind]
    return expected
