"""What a study holds, in a few lines for people."""

import numpy as np

from crowdllm_jax.runtime.names import as_shown, look_alikes
from crowdllm_jax.study import reverse, scale_text, scales
from crowdllm_jax.study.columns import attribute_columns
from crowdllm_jax.study.records import Attribute, Block, Study, Witness, unanswered
from crowdllm_jax.study.routing import people_asked
from crowdllm_jax.study.statistics import kish
from crowdllm_jax.study.toplines import MOST_SURE

MOST_ROUTED = 8
"""Tasks that not everybody is asked, of which it is told who is."""


def describe(study: Study) -> str:
    """What the study holds, for `crowdllm study check`: a text of a few lines."""
    lines = [f"study         {study.name}", *_answers(study)]
    for index in range(len(study.scales)):
        lines += _scale(study, index)
    lines += _people(study)
    if mirrored := [i for i, t in enumerate(study.tasks.text) if t.endswith(reverse.TOLD)]:
        names = ", ".join(as_shown(study.tasks.ids[i]) for i in mirrored[:8])
        more = ", ..." if len(mirrored) > 8 else ""
        lines.append(
            f"mirrored      {len(mirrored):,} reverse-keyed questions: {names}{more}; the lowest "
            "answer in the table is read as the highest"
        )
    for attribute in study.tasks.attributes:
        lines.append(f"question has  {_attribute(attribute)}")
    if study.tasks.embedding is not None:
        only_block = Block("", 0, 0, study.tasks.embedding.shape[1])
        for block in study.tasks.blocks or (only_block,):
            told = f" ({block.name})" if block.name else ""
            lines.append(f"question has  an embedding of {block.end - block.begin} numbers{told}")
    if (described := study.tasks.alternatives) is not None:
        options = len(np.unique(described.task))
        lines.append(
            f"alternatives  {len(described.task):,} options of {options:,} questions are described"
        )
        lines += [f"option has    {_attribute(one)}" for one in described.attributes]
    lines += [_witness(study, witness) for witness in study.witnesses]
    lines += [f"look alike    {told}" for told in _look_alikes(study)]
    return "\n".join(lines)


def _span(counts: np.ndarray, one: str, several: str = "") -> str:
    """From which to which number something is counted: `3 to 8 questions (median 5)`."""
    low, high = int(counts.min()), int(counts.max())
    what = one if high == 1 else several or f"{one}s"
    return (
        f"{high:,} {what}"
        if low == high
        else f"{low:,} to {high:,} {what} (median {np.median(counts):g})"
    )


def _answers(study: Study) -> list[str]:
    """How many people answered how many questions; of published shares, how many there are."""
    if study.toplines:
        asked = len(np.unique(study.task))
        return [f"shares        {len(study.task):,} published, of {asked:,} questions"]
    n, t, r = len(study.participants.ids), len(study.tasks.ids), len(study.task)
    per_task = np.bincount(study.task, minlength=t)
    per_person = np.bincount(study.person, minlength=n)
    lines = [
        f"participants  {n:,}, each answering {_span(per_person, 'question')}",
        f"questions     {t:,}, each answered by {_span(per_task, 'person', 'people')}",
        f"responses     {r:,} of {n * t:,} possible ({r / (n * t):.1%}); "
        f"{study.missing:,} cells left empty",
    ]
    if study.skipped:
        lines.append(
            f"              {study.skipped:,} more were left empty by people who were not asked"
        )
    lines += _routed(study)
    if study.left_out:
        lines.append(
            f"              {study.left_out:,} of the responses are projects that voters "
            "left out of their ballots; they count 0"
        )
    if len(nobody := unanswered(study)):
        shown = ", ".join(study.tasks.ids[task] for task in nobody[:8])
        more = ", ..." if len(nobody) > 8 else ""
        lines.append(
            f"unanswered    {len(nobody):,} questions that nobody answered: {shown}{more}; a crowd "
            "answers them by the reference and features, or like any other question"
        )
    return lines


def _routed(study: Study) -> list[str]:
    """Who is asked the tasks that only some are asked; of a few of them."""
    asked, lines = people_asked(study), []
    for task, who in list(asked.items())[:MOST_ROUTED]:
        gave = len(np.unique(study.person[study.task == task]))
        lines.append(
            f"asked if      {as_shown(study.tasks.ids[task])}: "
            f"{study.tasks.ask_if[study.tasks.ids[task]]}; {who.sum():,} of {len(who):,} people "
            f"({who.mean():.0%}), {gave:,} of whom answered"
        )
    if len(asked) > MOST_ROUTED:
        lines.append(f"              and {len(asked) - MOST_ROUTED:,} more tasks")
    return lines


def _witness(study: Study, witness: Witness) -> str:
    """How much a witness says, and how often people answer the same."""
    t, numbers = len(study.tasks.ids), study.answer.copy()
    ordered = scales.which(scales.is_ordered, study.scales.values())
    numbers = np.where(ordered[study.tasks.scale[study.task]], study.value, numbers)
    key = study.person.astype(np.int64) * t + study.task
    told = witness.person.astype(np.int64) * t + witness.task
    _, own, said = np.intersect1d(key, told, return_indices=True)
    same = f"; {np.mean(numbers[own] == witness.value[said]):.0%} are theirs" if len(own) else ""
    return (
        f"witness       {as_shown(witness.name)}: {len(told):,} answers for "
        f"{len(np.unique(witness.person)):,} people to {len(np.unique(witness.task)):,} questions, "
        f"{len(own):,} of which they gave themselves{same}"
    )


def _scale(study: Study, index: int) -> list[str]:
    """A scale of the study, and how often each of its answers was given; of published shares, on
    average over its questions."""
    name, scale = list(study.scales.items())[index]
    on_scale = study.tasks.scale[study.task] == index
    tasks = int((study.tasks.scale == index).sum())
    asked = "question" if tasks == 1 else "questions"
    lines = [f"scale         {name}: {scale_text.describe(scale)}; {tasks:,} {asked}"]
    if k := scales.size(scale):
        each = study.weight[on_scale] if study.toplines else np.ones(on_scale.sum())
        count = np.bincount(study.answer[on_scale].astype(int), each, minlength=k)
        shown = ", ".join(
            f"{level}: {share:.0%}"
            for level, share in zip(
                scale_text.counted(scale), count / max(each.sum(), 1e-9), strict=True
            )
        )
        lines.append(f"              answers: {shown}")
        if scales.is_ballot(scale):
            voters = len(np.unique(study.person[on_scale]))
            none = len(study.participants.ids) - voters
            lines.append(f"              {voters:,} ballots; {none:,} cast none")
    elif on_scale.any():
        low, middle, high = np.quantile(study.answer[on_scale], [0.05, 0.5, 0.95])
        lines.append(f"              answers: 5% {low:g}, median {middle:g}, 95% {high:g}")
    return lines


def _people(study: Study) -> list[str]:
    """What is known of the participants."""
    profile, weight = study.participants.profile, study.participants.weight
    columns = attribute_columns(attribute.name for attribute in profile)
    lines = []
    for attribute in profile:
        lines.append(f"profile       {_attribute(attribute)}")
        if (column := columns[attribute.name]) != attribute.name:
            lines.append(
                f"              is called {column} in populations and counts, which have "
                "another column of this name"
            )
    if not profile:
        lines.append("profile       none: agents will differ by chance alone")
    if study.toplines:
        lines.append(
            f"weights       each share stands as a participant, and all count as "
            f"{weight.sum():,.0f} people's answers, {MOST_SURE:.0f} of a question at most"
        )
    elif np.ptp(weight) > 0:
        lines.append(
            "weights       given; Kish's effective sample size "
            f"{kish(weight):,.1f} of {len(weight):,}"
        )
    return lines


def _attribute(attribute: Attribute) -> str:
    if attribute.kind == "numeric":
        numbers = attribute.cells[~np.isnan(attribute.cells)]
        gaps = len(attribute.cells) - len(numbers)
        missing = f"; {gaps} missing" if gaps else ""
        return f"{attribute.name}: numeric, {numbers.min():g} to {numbers.max():g}{missing}"
    count = np.bincount(attribute.cells, minlength=len(attribute.levels))
    order = range(len(count)) if attribute.kind == "ordinal" else np.argsort(-count, kind="stable")
    levels = [f"{as_shown(attribute.levels[i])} {count[i]}" for i in order]
    more = f", ... ({len(levels)} levels)" if len(levels) > 8 else ""
    return f"{attribute.name}: {attribute.kind}, {', '.join(levels[:8])}{more}"


def _look_alikes(study: Study) -> list[str]:
    """Names that differ in so little that they may be meant to be one; a few of each kind."""
    kinds = {"participants": study.participants.ids, "questions": study.tasks.ids}
    for scale_name, scale in study.scales.items():
        kinds[f"levels of {scale_name}"] = tuple(map(str, scales.written(scale)))
    for attribute in (*study.participants.profile, *study.tasks.attributes):
        kinds[attribute.name] = attribute.levels
    told = []
    for kind, names in kinds.items():
        groups = look_alikes(names)
        examples = ", ".join(" and ".join(f"'{name}'" for name in group) for group in groups[:5])
        if groups:
            more = f", ... ({len(groups):,} such groups)" if len(groups) > 5 else ""
            told.append(f"{kind}: {examples}{more}; make them one in the table if they are one")
    return told
