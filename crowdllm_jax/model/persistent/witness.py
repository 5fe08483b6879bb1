"""What witnesses say of people (`study.records.Witness`), as the model reads it.

A witness's answer for person p to task t, standardised within the task, is one more column w of
the location there:

    location(p, t) = ... + trust(t) w(p, t)

A task's trust stands around the witness's own, which serves tasks that no person has answered.
Bias and scale of a witness go out with the standardising; that it is no better than noise is
learned, and brings its trust to nothing. On a nominal task w is of levels: 1 for the one that it
names, less how often it names each, so that whoever it tells nothing of has the average there, too.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.statistics import unit

FEWEST = 2
"""People of whom a witness must tell in a task to be heard there."""
FLAT = 0.01
"""A deviation within a task, as a share of the scale, below which a witness tells nobody apart."""
FURTHEST = 4.0
"""Deviations from a witness's average beyond which what it says moves nobody further."""
MOST_PEOPLE = 2000
"""From whom it is taken how people differ by what witnesses say of them."""
DIMENSIONS = 8
"""In how many directions agents of whom no witness tells may differ by what one would say."""
MOST_ALIKE = 16
"""Columns by which tasks are alike."""
RIDGE = 10.0
"""People's worth by which what a profile lets a witness say is drawn towards nothing."""


class Standard(NamedTuple):
    """How witnesses answer: mean, sd: (G, T) of their answers as shares of the scale; sd 0 where
    one says the same of everybody, or is not heard."""

    names: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray


class Said(NamedTuple):
    """What G witnesses say of some answers.

    Attributes:
      number: (..., G) standardised; on nominal tasks 1. 0 where a witness says nothing.
      level: (..., G) int32 on nominal tasks, else 0.
    """

    number: np.ndarray
    level: np.ndarray


class Unwitnessed(NamedTuple):
    """What witnesses would say of people of whom none tells, times the trust in it.

    Attributes:
      profile: (C, T) what it is by profile. loading: (T, Q) on standard normal numbers.
      spread: (T,) deviation of the rest. location: (T,) what it is on average.
    """

    profile: np.ndarray
    loading: np.ndarray
    spread: np.ndarray
    location: np.ndarray


def standard_of(study: Study) -> Standard | None:
    """How a study's witnesses answer its tasks; None without any."""
    if not study.witnesses:
        return None
    t = len(study.tasks.ids)
    mean, sd = np.zeros((2, len(study.witnesses), t))
    nominal = _is_nominal(study)
    for row, witness in enumerate(study.witnesses):
        share = unit(study, witness.value, witness.task)
        count = np.bincount(witness.task, minlength=t)
        mean[row] = np.bincount(witness.task, share, t) / count.clip(1)
        square = np.bincount(witness.task, (share - mean[row][witness.task]) ** 2, t)
        sd[row] = np.sqrt(square / count.clip(1)) * (count >= FEWEST)
    sd[:, ~nominal] *= sd[:, ~nominal] >= FLAT
    sd[:, nominal] = (sd[:, nominal] > 0).astype(float)
    names = tuple(witness.name for witness in study.witnesses)
    return Standard(names, mean.astype(np.float32), sd.astype(np.float32))


def usual_of(study: Study, levels: int) -> np.ndarray | None:
    """(T, G, K) how often each witness names each level of nominal tasks, 0 on others; None without
    such tasks or witnesses."""
    nominal = _is_nominal(study)
    if not study.witnesses or not nominal.any():
        return None
    count = np.zeros((len(nominal), len(study.witnesses), levels), np.float32)
    for column, witness in enumerate(study.witnesses):
        rows = nominal[witness.task]
        np.add.at(count[:, column], (witness.task[rows], witness.value[rows].astype(int)), 1)
    share: np.ndarray = count / count.sum(2, keepdims=True).clip(1)
    return share


def said_of(study: Study, standard: Standard, person: np.ndarray, task: np.ndarray) -> Said:
    """What witnesses, all of them known, say of answers (A,) of a study's people."""
    number = np.zeros((len(task), len(standard.names)), np.float32)
    level = np.zeros(number.shape, np.int32)
    t, nominal = len(study.tasks.ids), _is_nominal(study)[task]
    wanted = person.astype(np.int64) * t + task
    for witness in study.witnesses:
        column = standard.names.index(witness.name)
        key = witness.person.astype(np.int64) * t + witness.task
        at = np.searchsorted(key, wanted).clip(max=max(0, len(key) - 1))
        heard = (key[at] == wanted) & (standard.sd[column][task] > 0)
        share = unit(study, witness.value[at], task)
        away = (share - standard.mean[column][task]) / np.maximum(standard.sd[column][task], FLAT)
        away = away.clip(-FURTHEST, FURTHEST)
        number[:, column] = np.where(heard, np.where(nominal, 1.0, away), 0.0)
        level[:, column] = np.where(heard & nominal, witness.value[at], 0)
    return Said(number, level)


def check_witnesses(study: Study, standard: Standard | None) -> None:
    """Make sure that a crowd knows a study's witnesses.

    Raises:
      CrowdError: it was fitted without one of them.
    """
    known = () if standard is None else standard.names
    odd = [witness.name for witness in study.witnesses if witness.name not in known]
    if odd:
        raise CrowdError(
            f"witness '{odd[0]}': the crowd was fitted without it, and cannot say how far it is to "
            f"be trusted; it knows: {', '.join(known) or 'none'}"
        )


def likeness(study: Study, standard: Standard, known: np.ndarray) -> np.ndarray:
    """(T, D) columns by which tasks are alike of whom witnesses say alike, the first with deviation
    1; nominal tasks have none. New tasks may so load on beliefs as known ones do.

    They are the principal components of what a witness's answers to a task covary with: the same
    people's answers to other tasks, as witnesses give them and as people gave them themselves.

    Args:
      known: (R,) bool, the people's answers that may be used.
    """
    t, ordered = len(study.tasks.ids), ~_is_nominal(study)
    own = _sparse(study, study.person[known], study.task[known], _own(study, known))
    among, beside = np.zeros((2, t, t)), np.zeros((2, t, t))
    for column, witness in enumerate(study.witnesses):
        number = said_of(study, standard, witness.person, witness.task).number[:, column]
        told = _sparse(study, witness.person, witness.task, number * ordered[witness.task])
        for total, other in ((among, told), (beside, own)):
            total += [(a.T @ b).toarray() for a, b in zip(told, other, strict=True)]
    covariance = np.concatenate([total / pairs.clip(1) for total, pairs in (among, beside)], axis=1)
    # A task beside itself says how far the witness is right, which of new tasks is not known.
    covariance[np.arange(t), t + np.arange(t)] = 0.0
    axes, size, _ = np.linalg.svd(covariance, full_matrices=False)
    x: np.ndarray = (axes * np.sqrt(size))[:, size > 1e-4 * size[0]][:, :MOST_ALIKE]
    return x / x[:, 0].std() if x.size and x[:, 0].std() > 0 else np.zeros((t, 0))


def _own(study: Study, known: np.ndarray) -> np.ndarray:
    """People's answers, standardised within tasks; 0 on nominal ones."""
    t, task = len(study.tasks.ids), study.task[known]
    share = unit(study, study.value[known], task)
    count = np.bincount(task, minlength=t).clip(1)
    away = share - (np.bincount(task, share, t) / count)[task]
    sd = np.sqrt(np.bincount(task, away**2, t) / count)
    return away / np.maximum(sd, 1e-6)[task] * ~_is_nominal(study)[task]


def _sparse(
    study: Study, person: np.ndarray, task: np.ndarray, number: np.ndarray
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """(P, T) numbers, and 1 where there are any."""
    shape = (len(study.participants.ids), len(study.tasks.ids))
    return tuple(
        sparse.csr_array((values.astype(float), (person, task)), shape)
        for values in (number, number != 0)
    )


def unwitnessed(
    study: Study, standard: Standard, trust: np.ndarray, people: np.ndarray, profile: np.ndarray
) -> Unwitnessed:
    """How people differ, by survey weight, by what witnesses say of them.

    Args:
      trust: (T, G). people: (P,) who is known. profile: (P, C) centred.
    """
    if len(people) > MOST_PEOPLE:
        some = np.linspace(0, len(people) - 1, MOST_PEOPLE).astype(int)
        people, profile = people[some], profile[some]
    t, c = len(study.tasks.ids), profile.shape[1]
    said = said_of(study, standard, np.repeat(people, t), np.tile(np.arange(t), len(people)))
    trust = trust * ~_is_nominal(study)[:, None]
    moved = (said.number.reshape(len(people), t, -1) * trust[None]).sum(2)
    weight = study.participants.weight[people][:, None]
    weight = weight / weight.mean()
    # The intercept is not shrunk; profiles are taken from their own average beside it.
    average, middle = (weight * moved).mean(0), (weight * profile).mean(0)
    apart, weighed = profile - middle, weight * (profile - middle)
    by_profile = np.linalg.solve(
        apart.T @ weighed + RIDGE * np.eye(c), weighed.T @ (moved - average)
    )
    rest = np.sqrt(weight) * (moved - average - apart @ by_profile)
    _, size, axes = np.linalg.svd(rest / np.sqrt(len(rest)), full_matrices=False)
    loading = (axes[:DIMENSIONS] * size[:DIMENSIONS, None]).T
    spread = np.sqrt(((rest**2).mean(0) - (loading**2).sum(1)).clip(0))
    location = average - middle @ by_profile
    parts = (by_profile, loading, spread, location)
    return Unwitnessed(*(part.astype(np.float32) for part in parts))


def _is_nominal(study: Study) -> np.ndarray:
    """(T,) bool."""
    ordered = scales.which(scales.is_ordered, study.scales.values())
    return np.asarray(~ordered[study.tasks.scale])
