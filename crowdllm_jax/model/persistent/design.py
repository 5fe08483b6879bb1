"""What the persistent model reads of a study's tasks: columns and groups of effects."""

from typing import NamedTuple

import numpy as np

from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.contrasts import telling
from crowdllm_jax.model.persistent.effects import TaskColumns
from crowdllm_jax.model.persistent.layout import Layout, layout_of, level_mask
from crowdllm_jax.model.persistent.told import Known, Told, expected_trust, read_references, within
from crowdllm_jax.model.persistent.witness import (
    Standard,
    Unwitnessed,
    likeness,
    standard_of,
    usual_of,
)
from crowdllm_jax.model.scales import nominal, ordered
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.study.alternatives import Options, codings_of, options_of
from crowdllm_jax.study.coding import Coding, encode, feature_blocks
from crowdllm_jax.study.records import Alternatives, Attribute, Study

FEW_TASKS = 5
"""A scale on which fewer are known does not tell by itself how far its tasks lie apart."""
FEW_COLUMNS, MOST_LOADING = 16, 8
"""Beliefs load on all task components where these are few, else on the first ones."""


class Design(NamedTuple):
    """The persistent model's view of a study.

    Attributes:
      groups: by effect, the prior group of each coefficient.
      centre: (C,) average training profile; effects of profiles are relative to it.
      witnesses: how they answer. unwitnessed: how agents differ of whom none tells, once it is
        known how far witnesses are to be trusted. Both None without any.
    """

    layout: Layout
    tasks: TaskColumns
    groups: dict[str, np.ndarray]
    centre: np.ndarray
    witnesses: Standard | None = None
    unwitnessed: Unwitnessed | None = None


def make_design(
    study: Study,
    reference: Reference,
    codings: tuple[Coding, ...],
    train: np.ndarray,
    config: PersistentConfig,
    *,
    known: bool,
) -> Design:
    """Lay out a study.

    Args:
      train: (R,) bool, the responses to learn from; statistics come from them alone.
      known: the tasks to be answered later are those of the training responses (held-out people).
        Beliefs may then load on single tasks, which says nothing of new ones.
    """
    t = len(study.tasks.ids)
    layout = layout_of(study.scales, study.tasks.scale)
    seen = np.zeros(t, bool)
    seen[study.task[train]] = True
    witnesses = standard_of(study)
    # With tasks held out, witnesses still tell which of the known tasks the new ones are like.
    single = known or witnesses is not None
    like = _like_scales(layout, seen)
    few = _few_scales(layout, seen) & (not single)
    told = read_references(study, reference, layout, Known(seen, few, known))
    # A head that reads the features says already where they put a task, as well as they can, and of
    # training tasks it has not seen. Beside it they would follow what it leaves of these.
    sources = _sources(study, seen, config.components)
    columns, group = _location_columns(told, [] if _reads_features(reference) else sources)
    alike = likeness(study, witnesses, train) if witnesses is not None else np.zeros((t, 0))
    loading, loading_group = _loading_columns(told.columns[0], sources, alike)
    trusted = np.unique(like, return_inverse=True)[1][study.tasks.scale].astype(np.int32)
    tasks = TaskColumns(
        study.tasks.scale.astype(np.int32),
        told.shares[0],
        np.stack(columns, axis=1).astype(np.float32),
        loading.astype(np.float32),
        seen.astype(np.float32),
        np.stack(told.shares[1:], axis=2) if len(told.shares) > 1 else None,
        usual_of(study, layout.levels),
        *_options(study, layout, seen),
    )._replace(
        expected=expected_trust(reference, t, usual=told.usual),
        trusted=trusted,
        levelled=1 - few[study.tasks.scale].astype(np.float32) if few.any() else None,
    )
    apart = tasks.scale if single else like[tasks.scale]
    attribute, latent = _attribute_of(codings), config.dimensions
    groups = _groups(layout, attribute, np.array(group), loading_group, apart, latent)
    groups |= _groups_of_trust(trusted, len(told.shares), usual=told.usual)
    if study.tasks.alternatives is not None:
        groups |= _groups_of_options(study.tasks.alternatives, seen, attribute, latent)
    if single:
        groups |= _groups_of_tasks(attribute, t, latent)
        tells = telling(layout, np.bincount(study.task[train], minlength=t))
        groups |= _groups_of_levels(layout, tells & (not study.toplines), attribute, latent)
    if witnesses is not None:
        groups |= _groups_of_witnesses(witnesses, len(layout.scales))
    return Design(layout, tasks, groups, _average_profile(study, codings, train), witnesses)


def _attribute_of(codings: tuple[Coding, ...]) -> np.ndarray:
    """(C,) of which attribute each column of a profile is."""
    widths = [len(coding.columns) for coding in codings]
    return np.repeat(np.arange(len(codings)), widths) if codings else np.zeros(1, int)


def _average_profile(study: Study, codings: tuple[Coding, ...], train: np.ndarray) -> np.ndarray:
    """(C,) of those who gave some responses (R,) bool."""
    everyone = profile_matrix(codings, study.participants.profile, len(study.participants.ids))
    return np.asarray(everyone[np.unique(study.person[train])].mean(0))


def _location_columns(told: Told, sources: list[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """(T,) columns that move the location, and the prior group of each."""
    columns, group = list(told.columns), list(told.groups)
    for number, components in enumerate(sources):
        columns += list(components.T)
        group += [3 + number] * components.shape[1]
    for number, other in enumerate(told.others):
        columns.append(other)
        group.append(3 + len(sources) + number)
    return columns, group


def _reads_features(reference: Reference) -> bool:
    return any(one.kind == "fitted" for one in (reference, *reference.others))


def _loading_columns(
    mean: np.ndarray, sources: list[np.ndarray], alike: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What beliefs and profiles load on (T, Q), the reference's mean first, and which tasks
    witnesses find alike last; and (Q,) groups."""
    if sum(x.shape[1] for x in sources) > FEW_COLUMNS:
        sources = [x[:, : max(1, MOST_LOADING // len(sources))] for x in sources]
    loading = np.concatenate([np.zeros((len(mean), 0)), *sources], axis=1)
    group = np.zeros(loading.shape[1], int)
    if mean.any():
        loading = np.concatenate([mean[:, None], loading], axis=1)
        group = np.append(1, group)
    if loading.shape[1] == 0:
        loading, group = np.zeros((len(mean), 1)), np.zeros(1, int)
    group = np.append(group, np.full(alike.shape[1], 2))
    return np.concatenate([loading, alike], axis=1), np.unique(group, return_inverse=True)[1]


def _sources(study: Study, seen: np.ndarray, most: int) -> list[np.ndarray]:
    """(T, D) components of each source of features, within what was tried. Each is shrunk by
    itself, so that a wide one does not drown the others."""
    blocks = feature_blocks(study.tasks).values()
    return [within(_components(x, seen, most), seen) for x in blocks]


def _components(x: np.ndarray, seen: np.ndarray, most: int) -> np.ndarray:
    """(T, D) principal components of task features, the first with deviation 1; the axes are those
    of the training tasks, so that any other task is treated alike, in the study or asked later.

    Components keep their relative sizes, so that one prior variance for all shrinks the small ones
    most, as ridge regression on the features does.
    """
    x = x - x[seen].mean(0)
    if not x[seen].any():
        return np.zeros((len(x), 0))
    _, s, axes = np.linalg.svd(x[seen], full_matrices=False)
    d = min(most, int((s > 1e-4 * s[0]).sum()))
    return x @ axes[:d].T * (np.sqrt(seen.sum()) / s[0])


def _groups(
    layout: Layout,
    attribute: np.ndarray,
    feature_group: np.ndarray,
    loading_group: np.ndarray,
    apart: np.ndarray,
    latent: int,
) -> dict[str, np.ndarray]:
    """Of what all studies have; `apart`: which tasks (T,) lie apart by a deviation they share."""
    k, s, c = layout.levels, len(layout.scales), len(attribute)
    # What beliefs and profiles do to kinds of tasks is apart from how steeply they make people
    # follow the reference.
    groups = {
        "task_features": feature_group,
        "loading": loading_group[:, None] * latent + np.arange(latent),
        "profile": attribute,
        "interaction": attribute[:, None] * (loading_group.max() + 1) + loading_group,
        "task_level": np.repeat(apart[:, None], k, 1),
        "task": apart,
    }
    if layout.tasks_of(nominal):
        scale, most = np.arange(s)[:, None, None], attribute.max(initial=0) + 1
        groups["level_loading"] = np.broadcast_to(scale, (s, k, latent))
        by_scale = scale * most + attribute[None, :, None]
        groups["level_profile"] = np.broadcast_to(by_scale, (s, c, k))
    return {name: np.ascontiguousarray(group, np.int32) for name, group in groups.items()}


def _like_scales(layout: Layout, seen: np.ndarray) -> np.ndarray:
    """(S,) of each scale the first that is of its kind and has few known tasks as it has; itself
    where it has enough, or answers on a line, which have units of their own.

    Args:
      seen: (T,) bool, which tasks are known.
    """
    scale = np.array(layout.task_scale)
    like = np.arange(len(layout.scales), dtype=np.int32)
    few = _few_scales(layout, seen)
    for kind in (ordered, nominal):
        of_kind = np.unique(scale[list(layout.tasks_of(kind))])
        own = of_kind[few[of_kind]]
        like[own] = own.min(initial=len(like))
    return like


def _few_scales(layout: Layout, seen: np.ndarray) -> np.ndarray:
    """(S,) bool: which scales with levels have few known tasks (T,) bool."""
    scale = np.array(layout.task_scale)
    known = np.bincount(scale[seen], minlength=len(layout.scales))
    with_levels = np.zeros(len(known), bool)
    for kind in (ordered, nominal):
        with_levels[scale[list(layout.tasks_of(kind))]] = True
    return with_levels & (known < FEW_TASKS)


def _groups_of_trust(trusted: np.ndarray, shares: int, *, usual: bool) -> dict[str, np.ndarray]:
    """Trust in what references say, on scales that have one together (T,) and everywhere: what it
    deserves on one scale tells of the others, most of those with few tasks. Of several references
    (their average and how far each is from it, `shares` in all) one prior is for all that sets them
    apart: which of many is the best is often so by chance. What is usual by them, the last of
    `shares` if there is such, has its own."""
    groups = {"trust": np.arange(int(trusted.max()) + 1, dtype=np.int32)}
    if len(groups["trust"]) > 1 or shares > 1:
        groups["trust_everywhere"] = np.minimum(np.arange(shares, dtype=np.int32), 1)
    if usual:
        groups["trust_everywhere"][-1] = groups["trust_everywhere"][:-1].max() + 1
    return groups


def _groups_of_tasks(attribute: np.ndarray, tasks: int, latent: int) -> dict[str, np.ndarray]:
    """What beliefs and profiles do to single tasks: one prior per dimension, and per attribute."""
    by_dimension, by_attribute = np.arange(latent)[None], attribute[:, None]
    return {
        "task_loading": np.repeat(by_dimension, tasks, 0).astype(np.int32),
        "task_profile": np.repeat(by_attribute, tasks, 1).astype(np.int32),
    }


def _groups_of_levels(
    layout: Layout, tells: np.ndarray, attribute: np.ndarray, latent: int
) -> dict[str, np.ndarray]:
    """What beliefs do to single levels of single nominal tasks, where several on one scale tell
    (T,) bool: one prior per dimension. Cells that no such task has are a group of their own."""
    scale = np.array(layout.task_scale)
    if np.bincount(scale[tells], minlength=1).max() < 2:
        return {}
    is_nominal = np.isin(np.arange(len(scale)), layout.tasks_of(nominal))
    own = is_nominal[:, None] & (level_mask(layout) == 0)[scale]
    return {
        "task_level_loading": np.where(own[:, :, None], np.arange(latent), latent).astype(np.int32),
        "belief_profile": np.repeat(attribute[:, None], latent, 1).astype(np.int32),
    }


def _options(study: Study, layout: Layout, seen: np.ndarray) -> Options | tuple[None, None]:
    """What describes the options of choice tasks."""
    described = study.tasks.alternatives
    if described is None:
        return None, None
    return options_of(described, codings_of(described, seen), len(seen), layout.levels)


def _groups_of_options(
    described: Alternatives, seen: np.ndarray, attribute: np.ndarray, latent: int
) -> dict[str, np.ndarray]:
    """What descriptions are worth, on average and to whom: one prior per attribute, and one per
    dimension of beliefs."""
    widths = [len(coding.columns) for coding in codings_of(described, seen)]
    of_option = np.repeat(np.arange(len(widths)), widths)
    by_dimension = np.repeat(np.arange(latent)[None], len(of_option), 0)
    return {
        "part_worth": of_option.astype(np.int32),
        "part_worth_loading": by_dimension.astype(np.int32),
        "belief_profile": np.repeat(attribute[:, None], latent, 1).astype(np.int32),
    }


def _groups_of_witnesses(witnesses: Standard, scales: int) -> dict[str, np.ndarray]:
    """Trust in a witness on each scale, and what tasks have of their own: one prior per witness."""
    by_witness = np.arange(len(witnesses.names), dtype=np.int32)[None]
    tasks = witnesses.mean.shape[1]
    return {
        "witness": np.repeat(by_witness, scales, 0),
        "task_witness": np.repeat(by_witness, tasks, 0),
    }


def profile_matrix(
    codings: tuple[Coding, ...], profile: tuple[Attribute, ...], people: int
) -> np.ndarray:
    """(H, C) coded profiles; without any attribute, one column of zeros."""
    return encode(codings, profile) if profile else np.zeros((people, 1), np.float32)
