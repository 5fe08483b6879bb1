"""What a study holds, in a few lines for people."""

import numpy as np

from crowdllm_jax.runtime.names import as_shown
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.columns import attribute_columns
from crowdllm_jax.study.records import Attribute, Block, Study, _look_alikes, unanswered


def describe(study: Study) -> str:
    """What the study holds, for `crowdllm study check`: a text of a few lines."""
    n, t, r = len(study.participants.ids), len(study.tasks.ids), len(study.task)
    per_task = np.bincount(study.task, minlength=t)
    per_person = np.bincount(study.person, minlength=n)
    lines = [
        f"study         {study.name}",
        f"participants  {n:,}, each answering {per_person.min()} to {per_person.max()} tasks "
        f"(median {np.median(per_person):g})",
        f"tasks         {t:,}, each answered by {per_task.min()} to {per_task.max()} people "
        f"(median {np.median(per_task):g})",
        f"responses     {r:,} of {n * t:,} possible ({r / (n * t):.1%}); "
        f"{study.missing:,} cells left empty",
    ]
    if study.left_out:
        lines.append(
            f"              {study.left_out:,} of the responses are projects that voters "
            "left out of their ballots; they count 0"
        )
    if len(nobody := unanswered(study)):
        shown = ", ".join(study.tasks.ids[task] for task in nobody[:8])
        more = ", ..." if len(nobody) > 8 else ""
        lines.append(
            f"unanswered    {len(nobody):,} tasks that nobody answered: {shown}{more}; a crowd "
            "answers them by the reference and features, or like any other task"
        )
    for index, (name, scale) in enumerate(study.scales.items()):
        here = study.tasks.scale[study.task] == index
        tasks = int((study.tasks.scale == index).sum())
        lines.append(f"scale         {name}: {scale_text.describe(scale)}; {tasks:,} tasks")
        if k := scales.size(scale):
            share = np.bincount(study.answer[here].astype(int), minlength=k) / max(here.sum(), 1)
            shown = ", ".join(
                f"{level}: {part:.0%}"
                for level, part in zip(scale_text.counted(scale), share, strict=True)
            )
            lines.append(f"              answers: {shown}")
            if scales.is_ballot(scale):
                voters = len(np.unique(study.person[here]))
                lines.append(f"              {voters:,} ballots; {n - voters:,} cast none")
        elif here.any():
            low, middle, high = np.quantile(study.answer[here], [0.05, 0.5, 0.95])
            lines.append(f"              answers: 5% {low:g}, median {middle:g}, 95% {high:g}")
    columns = attribute_columns(a.name for a in study.participants.profile)
    for attribute in study.participants.profile:
        lines.append(f"profile       {_describe(attribute)}")
        if (column := columns[attribute.name]) != attribute.name:
            lines.append(
                f"              is called {column} in populations and counts, which have "
                "another column of this name"
            )
    if not study.participants.profile:
        lines.append("profile       none: agents will differ by chance alone")
    weight = study.participants.weight
    if np.ptp(weight) > 0:
        effective = weight.sum() ** 2 / (weight**2).sum()
        lines.append(f"weights       given; Kish's effective sample size {effective:,.1f} of {n:,}")
    for attribute in study.tasks.attributes:
        lines.append(f"task has      {_describe(attribute)}")
    if study.tasks.embedding is not None:
        whole = Block("", 0, 0, study.tasks.embedding.shape[1])
        for block in study.tasks.blocks or (whole,):
            told = f" ({block.name})" if block.name else ""
            lines.append(f"task has      an embedding of {block.end - block.begin} numbers{told}")
    lines += [f"look alike    {told}" for told in _look_alikes(study)]
    return "\n".join(lines)


def _describe(attribute: Attribute) -> str:
    if attribute.kind == "numeric":
        known = attribute.cells[~np.isnan(attribute.cells)]
        gaps = len(attribute.cells) - len(known)
        missing = f"; {gaps} missing" if gaps else ""
        return f"{attribute.name}: numeric, {known.min():g} to {known.max():g}{missing}"
    count = np.bincount(attribute.cells, minlength=len(attribute.levels))
    order = range(len(count)) if attribute.kind == "ordinal" else np.argsort(-count, kind="stable")
    levels = [f"{as_shown(attribute.levels[i])} {count[i]}" for i in order]
    more = f", ... ({len(levels)} levels)" if len(levels) > 8 else ""
    return f"{attribute.name}: {attribute.kind}, {', '.join(levels[:8])}{more}"
