"""What the persistent model reads of a study: task columns, effect groups, people's answers."""

from typing import NamedTuple

import numpy as np

from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.decision import AnswerTable
from crowdllm_jax.model.persistent.effects import TaskColumns
from crowdllm_jax.model.persistent.layout import Layout, layout_of
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import Coding, encode, feature_blocks
from crowdllm_jax.study.records import Attribute, Study
from crowdllm_jax.study.scales import Continuous
from crowdllm_jax.study.statistics import unit

WIDE = 64
"""Up to so many tasks (task columns) each has loadings of its own; beyond, 8 components do."""


class Design(NamedTuple):
    """The persistent model's view of a study.

    Attributes:
      groups: by effect, the prior group of each coefficient.
      centre: (C,) average training profile; effects of profiles are relative to it.
    """

    layout: Layout
    tasks: TaskColumns
    groups: dict[str, np.ndarray]
    centre: np.ndarray


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
    mean, shares, entropy = _reference_columns(study, reference, layout, seen, known=known)
    columns, group = [mean], [0]
    # A reference that is sure of itself may deserve more trust, or less; so may one that hardly
    # believes in the listed options.
    for number, certainty in ((1, entropy), (2, reference.mass)):
        if certainty is not None and mean.any() and certainty[seen].std() > 1e-6:
            centred = (certainty - certainty[seen].mean()) / certainty[seen].std()
            columns.append(mean * centred)
            group.append(number)
    # Each source of features is shrunk by itself, so that a wide one does not drown the others.
    sources = [
        _components(x, seen, config.components) for x in feature_blocks(study.tasks).values()
    ]
    for number, own_components in enumerate(sources):
        columns += list(own_components.T)
        group += [3 + number] * own_components.shape[1]
    wide = sum(x.shape[1] for x in sources) > WIDE // 4
    parts = [x[:, : 8 // len(sources)] if wide else x for x in sources]
    loading = np.concatenate([np.zeros((t, 0)), *parts], axis=1)
    own = np.zeros(loading.shape[1], int)
    if mean.any():
        loading = np.concatenate([mean[:, None], loading], axis=1)
        own = np.append(1, own)
    if known and t <= WIDE:
        loading = np.concatenate([loading, np.eye(t)[:, seen]], axis=1)
        own = np.append(own, np.full(seen.sum(), 2))
    if loading.shape[1] == 0:
        loading, own = np.zeros((t, 1)), np.zeros(1, int)
    own = np.unique(own, return_inverse=True)[1]
    tasks = TaskColumns(
        study.tasks.scale.astype(np.int32),
        shares.astype(np.float32),
        _within(np.stack(columns, axis=1), seen).astype(np.float32),
        loading.astype(np.float32),
        seen.astype(np.float32),
    )
    widths = [len(coding.columns) for coding in codings]
    attribute = np.repeat(np.arange(len(codings)), widths) if codings else np.zeros(1, int)
    people = np.unique(study.person[train])
    everyone = profile_matrix(codings, study.participants.profile, len(study.participants.ids))
    centre = everyone[people].mean(0)
    groups = _groups(layout, tasks, attribute, np.array(group), own, config.latent)
    return Design(layout, tasks, groups, centre)


def _reference_columns(
    study: Study, reference: Reference, layout: Layout, seen: np.ndarray, *, known: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The reference's mean (T,) on a logit scale, log probabilities (T, K), and entropy (T,)."""
    t = len(study.tasks.ids)
    mean, shares = np.zeros(t), np.zeros((t, layout.levels))
    if known and reference.kind == "marginal":
        # It is the average of the very answers to be explained: trusting it would count them twice.
        return mean, shares, None
    share = unit(study, reference.mean, np.arange(t)).clip(0.02, 0.98)
    logit = np.log(share) - np.log1p(-share)
    entropy = np.zeros(t) if reference.probs is not None else None
    for index, scale in enumerate(layout.scales):
        here = study.tasks.scale == index
        if not (here & seen).any():
            continue
        mean[here] = logit[here] - logit[here & seen].mean()
        if reference.probs is not None and entropy is not None and (k := scales.size(scale)):
            own = reference.probs[here, :k].clip(1e-2)
            log = np.log(own / own.sum(1, keepdims=True))
            centred = log - log[seen[here]].mean(0)
            # What all levels of a task share moves none of them.
            shares[here, :k] = _within(centred - centred.mean(1, keepdims=True), seen[here])
            entropy[here] = -(np.exp(log) * log).sum(1) / np.log(k)
    spread = mean[seen].std()
    return _within(mean / (spread if spread > 1e-6 else 1.0), seen), shares, entropy


def _within(columns: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Columns (T, ...) clipped to the training tasks' range: how far a reference is to be trusted
    has been learned there, and not beyond."""
    return columns.clip(columns[seen].min(0), columns[seen].max(0))


def _components(x: np.ndarray, seen: np.ndarray, most: int) -> np.ndarray:
    """(T, D) principal components of task features, the first with deviation 1.

    Components keep their relative sizes, so that one prior variance for all shrinks the small ones
    most, as ridge regression on the features does.
    """
    x = x - x[seen].mean(0)
    if not x.any():
        return np.zeros((len(x), 0))
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    d = min(most, int((s > 1e-4 * s[0]).sum()))
    return u[:, :d] * (s[:d] / s[0]) * np.sqrt(len(x))


def _groups(
    layout: Layout,
    tasks: TaskColumns,
    attribute: np.ndarray,
    feature_group: np.ndarray,
    own: np.ndarray,
    latent: int,
) -> dict[str, np.ndarray]:
    t, k, s, c = len(tasks.scale), layout.levels, len(layout.scales), len(attribute)
    # What beliefs and profiles do to single tasks is apart from what they do to kinds of tasks, and
    # from how steeply they make people follow the reference.
    groups = {
        "trust": np.arange(s),
        "task_features": feature_group,
        "loading": own[:, None] * latent + np.arange(latent),
        "profile": attribute,
        "interaction": attribute[:, None] * (own.max() + 1) + own,
        "task_level": np.broadcast_to(tasks.scale[:, None], (t, k)),
        "task": tasks.scale,
    }
    if layout.nominal:
        scale, most = np.arange(s)[:, None, None], attribute.max(initial=0) + 1
        groups["level_loading"] = np.broadcast_to(scale, (s, k, latent))
        by_scale = scale * most + attribute[None, :, None]
        groups["level_profile"] = np.broadcast_to(by_scale, (s, c, k))
    return {name: np.ascontiguousarray(group, np.int32) for name, group in groups.items()}


def profile_matrix(
    codings: tuple[Coding, ...], profile: tuple[Attribute, ...], people: int
) -> np.ndarray:
    """(H, C) coded profiles; without any attribute, one column of zeros."""
    return encode(codings, profile) if profile else np.zeros((people, 1), np.float32)


def gather_answers(
    study: Study, codings: tuple[Coding, ...], design: Design, part: np.ndarray
) -> tuple[np.ndarray, AnswerTable]:
    """The answers of everyone with a response in a part (R,) bool, padded to one length.

    Returns:
      (B,) the participants, and their answers.
    """
    layout = design.layout
    people, row = np.unique(study.person[part], return_inverse=True)
    task, answer, value = study.task[part], study.answer[part], study.value[part]
    on_ballot = np.zeros(len(study.tasks.ids), bool)
    for _, tasks in layout.ballots:
        on_ballot[list(tasks)] = True
    single = ~on_ballot[task]
    count = np.bincount(row[single], minlength=len(people))
    shape = (len(people), max(1, count.max(initial=0)))
    order = np.argsort(row[single], kind="stable")
    own_row, own_task = row[single][order], task[single][order]
    place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    continuous = np.array([isinstance(s, Continuous) for s in layout.scales])
    is_level = ~continuous[study.tasks.scale[own_task]]

    def padded(values: np.ndarray, dtype: type) -> np.ndarray:
        out = np.zeros(shape, dtype)
        out[own_row, place] = values
        return out

    ballots = []
    for index, tasks in layout.ballots:
        here = study.tasks.scale[task] == index
        levels = np.zeros((len(people), len(tasks)), np.int32)
        present = np.zeros(len(people), np.float32)
        present[row[here]] = 1.0
        # A ballot is whole in the study: what is not in this part of it is held out.
        levels[present > 0] = -1
        levels[row[here], np.searchsorted(tasks, task[here])] = answer[here]
        ballots.append((levels, present))
    everyone = profile_matrix(codings, study.participants.profile, len(study.participants.ids))
    profile = everyone[people] - design.centre
    return people, AnswerTable(
        padded(own_task, np.int32),
        padded(np.where(is_level, answer[single][order], 0), np.int32),
        padded(unit(study, value[single][order], own_task), np.float32),
        padded(np.ones(len(order)), np.float32),
        tuple(ballots),
        profile.astype(np.float32),
        study.participants.weight[people].astype(np.float32),
    )
