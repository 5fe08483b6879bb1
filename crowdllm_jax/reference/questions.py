"""What a language model is asked about a study, and what its answers become.

Each task is one question: its text, and the labels of its scale's levels, in their order, as the
options. Two kinds of scale have no such list:

- A continuous scale offers `POINTS` equally spaced numbers from its low to its high end. Only the
  mean of the answer is kept: the points are no levels.
- A project on a ballot is asked by itself, whatever the ballot's rule: would one vote for it, no
  or yes? For approval and k-approval these are the two levels. For a ranking and for points the
  probability of "yes" is a share of the scale's range: 0 is its lowest level (unranked, no
  points), 1 its highest (the first rank, the whole budget), and nothing is said of those between.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import pyarrow as pa

from crowdllm_jax.backbone.answers import Scored
from crowdllm_jax.backbone.cache import Cache
from crowdllm_jax.backbone.questions import DEFAULT, Prompt, Question
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.record import Reference, from_levels, written_ends
from crowdllm_jax.runtime.files import vectors, write_parquet
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.runtime.version import __version__
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Binary, Continuous, Scale
from crowdllm_jax.study.statistics import ends

POINTS = 11
"""Numbers offered on a continuous scale."""

CACHE = "reference-cache.sqlite"
"""Where answers are kept by default: in the folder the command runs in, so that runs share it."""

Positive = Annotated[int, msgspec.Meta(ge=1)]

Orders = Literal[1, 2]
"""In how many orders the options are listed: as they stand, or also the other way round."""


class PromptConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a task is put to the model.

    Attributes:
      user: the message; {task} stands in it once, {options} and {persona} at most once.
      system: a system message before it; most base models take none.
      persona: what stands for {persona} where the model answers as somebody, and nothing does
        elsewhere; {profile} stands in it for the whole profile, {age} for the attribute age.
      attribute: one attribute of {profile}.
      option: a line of {options}.
      cue: ends the prompt of a model without a chat template.
      ballot: the text of a task that is a project on a ballot; {project} stands in it once.
      ballot_options: "no" and "yes" in the prompt's language.
    """

    user: str = DEFAULT.user
    system: str = DEFAULT.system
    persona: str = "Answer as this person would: {profile}\n\n"
    attribute: str = "{name}: {value}"
    option: str = DEFAULT.option
    cue: str = DEFAULT.cue
    ballot: str = "Would you vote for this project?\n\n{project}"
    ballot_options: tuple[str, str] = ("No", "Yes")


def prompt_and_questions(
    study: Study, config: PromptConfig, orders: Orders = 1
) -> tuple[Prompt, list[Question]]:
    """The template, and one question per task in the study's order; with two orders, once more all
    of them, with the options the other way round.

    Raises:
      CrowdError: a placeholder is unknown, missing or repeated, the study has no texts, or a text
        or label cannot be asked.
    """
    template = _prompt(config)
    questions = _questions(study, config)
    turned = [
        replace(q, options=q.options[::-1], values=q.values[::-1], codes=q.codes[::-1])
        for q in (questions if orders == 2 else ())
    ]
    return template, questions + turned


def _prompt(config: PromptConfig) -> Prompt:
    if config.ballot.count("{project}") != 1:
        raise CrowdError("prompt.ballot: {project} must stand in it exactly once")
    return Prompt(
        user=config.user,
        system=config.system,
        persona="{persona}",  # `personas` fills in the sentence, which names attributes
        option=config.option,
        cue=config.cue,
    )


def _questions(study: Study, config: PromptConfig) -> list[Question]:
    tasks = study.tasks
    if tasks.text == tasks.ids and not any(" " in name for name in tasks.ids):
        raise CrowdError(
            f"reference: the tasks have no texts, and a model cannot answer '{tasks.ids[0]}'; name "
            "their column in study.tasks.text"
        )
    every = [(*offered(scale, config), _codes(scale)) for scale in study.scales.values()]
    before, behind = config.ballot.split("{project}")
    questions = []
    for text, index in zip(tasks.text, tasks.scale, strict=True):
        frame = ("", "")
        if scales.is_ballot(tuple(study.scales.values())[index]):
            frame, text = (before, behind), before + text.strip() + behind
        options, values, codes = every[index]
        questions.append(Question(text, options, values, codes=codes, frame=frame))
    return questions


def offered(scale: Scale, config: PromptConfig) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Labels offered on a scale and the numbers they stand for."""
    if scales.is_ballot(scale):
        low, high = scales.values(scale)[[0, -1]]
        return config.ballot_options, (low, high)
    if isinstance(scale, Continuous):
        points = np.linspace(scale.low, scale.high, POINTS)
        for digits in range(4, 18):
            labels = tuple(f"{point:.{digits}g}" for point in points)
            if len(set(labels)) == POINTS:
                break
        return labels, tuple(points.tolist())
    return scales.labels(scale), tuple(scales.values(scale).tolist())


def _codes(scale: Scale) -> tuple[str, ...]:
    """How the data write what is offered, where that is not what is offered."""
    codes = tuple(map(str, scales.written(scale)))
    if scales.is_ballot(scale):
        return codes if len(codes) == 2 else ()
    return codes if codes != scales.labels(scale) else ()


def reference_of(study: Study, kind: str, scored: Scored) -> Reference:
    """A model's answers, one per task and order of the options, as the reference of a study."""
    order = None
    if len(scored.mean) > len(study.tasks.ids):
        scored, order = _both_orders(study, scored)
    reference = _as_reference(study, kind, scored)
    return replace(reference, order=order)


def _both_orders(study: Study, scored: Scored) -> tuple[Scored, np.ndarray]:
    """The average of both orders' answers, and (T,) how far these are apart (total variation)."""
    t = len(study.tasks.ids)
    probs, turned = scored.probs[:t], np.zeros_like(scored.probs[t:])
    for index, scale in enumerate(study.scales.values()):
        rows = np.flatnonzero(study.tasks.scale == index)
        k = 2 if scales.is_ballot(scale) else scales.size(scale) or POINTS
        turned[rows, :k] = scored.probs[t + rows, :k][:, ::-1]
    both = Scored(
        (probs + turned) / 2,
        (scored.mass[:t] + scored.mass[t:]) / 2,
        (scored.mean[:t] + scored.mean[t:]) / 2,
        None if scored.embedding is None else scored.embedding[:t],
    )
    return both, np.abs(probs - turned).sum(1).astype(np.float64) / 2


def _as_reference(study: Study, kind: str, scored: Scored) -> Reference:
    mass, embedding = scored.mass.astype(np.float64), scored.embedding
    if any(map(scales.is_continuous, study.scales.values())):
        # The points offered are no levels, so only the mean is known.
        low, width = ends(study)
        mean = np.clip(scored.mean.astype(np.float64), low, low + width)
        return Reference(kind, mean, None, mass, embedding)
    probs = np.zeros((len(scored.probs), max(map(scales.size, study.scales.values()))))
    for index, scale in enumerate(study.scales.values()):
        on_scale, k = study.tasks.scale == index, scales.size(scale)
        if scales.is_ballot(scale):
            probs[np.ix_(on_scale, [0, k - 1])] = scored.probs[on_scale, :2]
        else:
            probs[on_scale, :k] = scored.probs[on_scale, :k]
    return from_levels(study, kind, probs, mass, embedding)


def refuse_gaps(
    study: Study,
    questions: Sequence[Question],
    scored: Scored,
    why: Callable[[int], str],
    remedy: str,
) -> None:
    """Raise CrowdError if a question has no answer; `why` tells the reason of one (by its place).
    The study's tasks come first, in each order."""
    gaps = np.flatnonzero(np.isnan(scored.mean))
    if len(gaps):
        first, tasks = int(gaps[0]), study.tasks.ids
        what = "task(s)" if len(scored.mean) == len(tasks) else "question(s)"
        name = f"'{tasks[first % len(tasks)]}'"
        if questions[first].persona:
            name = "a persona's"
        if questions[first].blank:
            name = "one without content, by which reference.calibration divides"
        raise CrowdError(
            f"reference: no usable answer to {len(gaps)} of {len(scored.mean)} {what}, the first "
            f"{name} ({why(first)}); {remedy}"
        )


def open_cache(path: str) -> Cache:
    """The file that keeps the answers."""
    return Cache(Path(path).expanduser())


def existing_cache(path: str) -> Cache | None:
    """The same, for a look that must not make it."""
    return open_cache(path) if Path(path).expanduser().exists() else None


def stage_of(model: str, progress: Progress) -> Callable[[int, int], None]:
    """Reports how many questions a model has answered, and of how many."""
    stage = f"ask {Path(model).name}"
    return lambda done, total: progress(stage, done, total)


def shown(study: Study, questions: Sequence[Question], texts: Sequence[str]) -> str:
    """The first tasks' prompts for people to read, given as the model sees them, then personas' and
    blank ones."""
    lines = []
    for place, (question, text) in enumerate(zip(questions, texts, strict=True)):
        if question.blank:
            title = "without content, to calibrate"
        else:
            title = "a persona" if question.persona else f"task {study.tasks.ids[place]}"
        lines += [f"--- {title}", text, f"--- options: {' | '.join(question.options)}", ""]
    return "\n".join(lines).rstrip("\n")


def write_reference(study: Study, reference: Reference, source: msgspec.Struct, path: Path) -> None:
    """Write a reference as a table with a row per task, which `kind: column` reads.

    Its columns are task, mean (in the numbers the study writes; empty where nominal), mass and,
    where the reference has them, probs (a list with one number per level in the scale's order,
    zeros beyond a task's own) and embedding (a list). The file's metadata hold `source`, the
    configuration it was asked with.
    """
    mean = reference.mean.copy()
    for index, scale in enumerate(study.scales.values()):
        on_scale, (low, high) = study.tasks.scale == index, written_ends(scale)
        if not scales.is_ordered(scale):
            mean[on_scale] = np.nan
        elif isinstance(scale, Binary):
            mean[on_scale] = low + mean[on_scale] * (high - low)
    columns: dict[str, pa.Array] = {
        "task": pa.array(study.tasks.ids, pa.string()),
        "mean": pa.array(mean, pa.float64(), from_pandas=True),
    }
    for name, numbers in (("mass", reference.mass), ("order", reference.order)):
        if numbers is not None:
            columns[name] = pa.array(numbers, pa.float64())
    for name, rows in (("probs", reference.probs), ("embedding", reference.embedding)):
        if rows is not None:
            columns[name] = vectors(rows)
    about = {"crowdllm_jax": __version__, "reference": msgspec.to_builtins(source)}
    table = pa.table(columns).replace_schema_metadata({"crowdllm": json.dumps(about)})
    write_parquet(path, table)
