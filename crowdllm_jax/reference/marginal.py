"""The crowd's own average as a reference: what one knows with no model at all."""

import msgspec
import numpy as np

from crowdllm_jax.reference.record import Reference
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import ends, level_shares, task_means


class MarginalReference(
    msgspec.Struct, frozen=True, tag_field="kind", tag="marginal", forbid_unknown_fields=True
):
    """The training people's average answer: per task when people or answers are held out, and one
    constant per scale when tasks are (a new task has no answers yet)."""


def crowd_average(study: Study, split: Split) -> Reference:
    """Average the training answers, in the same way for every task of a scale.

    A task whose answers are few is drawn towards its scale's average as if one more person had
    answered that average.
    """
    t = len(study.tasks.ids)
    mean, answers, count = task_means(study, split.of_reference)
    total = np.where(answers > 0, mean, 0.0) * answers
    longest = max(scales.size(scale) for scale in study.scales.values())
    probs = np.zeros((t, longest))
    average = np.empty(t)
    for index, scale in enumerate(study.scales.values()):
        on_scale = study.tasks.scale == index
        given = answers[on_scale].sum()
        # A scale nobody answered in training: its middle is as good as any guess.
        overall = total[on_scale].sum() / given if given else 0.5
        weight = (
            count[on_scale] / (count[on_scale] + 1)
            if split.by != "tasks"
            else np.zeros(on_scale.sum())
        )
        average[on_scale] = weight * np.nan_to_num(mean[on_scale]) + (1 - weight) * overall
        if k := scales.size(scale):
            shares = level_shares(study, split.of_reference, index)[on_scale]
            seen = answers[on_scale] > 0
            pooled = (shares[seen] * answers[on_scale][seen, None]).sum(0)
            pooled = pooled / pooled.sum() if given else np.full(k, 1 / k)
            probs[on_scale, :k] = (
                weight[:, None] * np.nan_to_num(shares) + (1 - weight)[:, None] * pooled
            )
    low, width = ends(study)
    known = all(scales.size(scale) for scale in study.scales.values())
    return Reference("marginal", low + width * average, probs if known else None)
