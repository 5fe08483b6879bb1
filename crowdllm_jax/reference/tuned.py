"""Reference decisions of a language model that was tuned on people's answers, cross-fitted.

The training tasks are cut into parts, and for each part adapters are tuned on the answers to the
others. A training task is answered with the adapters that have not seen its answers, a task without
any by all of them, averaged. So a training task's reference is no better than a held-out task's,
and the model that reads it learns how far to trust it.

Adapters are kept under a hash of all that decides them: the model, the prompts, the settings and
the answers. Those of other answers, or of another split, are never taken for these.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from crowdllm_jax.backbone.answers import Answer, Scored, assemble
from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.backbone.tune.config import TuneConfig
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.backbone import (
    BackboneReference,
    ask_with,
    load_backbone,
    states_of,
)
from crowdllm_jax.reference.introductions import introductions
from crowdllm_jax.reference.questions import (
    POINTS,
    open_cache,
    prompt_and_questions,
    reference_of,
    stage_of,
)
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.files import new_folder
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Attribute, Study
from crowdllm_jax.study.scales import Continuous
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import level_shares, task_means, unit

if TYPE_CHECKING:
    from crowdllm_jax.backbone.tune.examples import Example
    from crowdllm_jax.backbone.weights import Outline

HELD = 10
"""One in so many of the tasks that adapters are tuned on validates instead."""


@dataclass(frozen=True)
class Plan:
    """What is tuned for one split.

    Attributes:
      folder: of its adapters; part-0, part-1, ... in it.
      part: (T,) the part of each task; -1 of those without training answers.
      examples: with the task of each (E,).
      options: (H,) how many are offered on each of the study's scales.
    """

    folder: Path
    part: np.ndarray
    examples: "Sequence[Example]"
    task: np.ndarray
    options: tuple[int, ...]

    def adapters(self, part: int) -> Path:
        """Where the adapters are that have not seen a part."""
        return self.folder / f"part-{part}"

    def examples_of(self, part: int) -> "tuple[list[Example], list[Example]]":
        """What the adapters that must not see a part are tuned and validated on."""
        rest = np.flatnonzero((self.part >= 0) & (self.part != part))
        held = rest[HELD // 2 :: HELD]
        learnt = np.setdiff1d(rest, held)
        pairs = list(zip(self.examples, self.task, strict=True))
        return [e for e, t in pairs if t in learnt], [e for e, t in pairs if t in held]


def plan_tuning(study: Study, split: Split, config: BackboneReference, tune: TuneConfig) -> Plan:
    """What there is to tune.

    Raises:
      CrowdError: there are too few training tasks, or a group or setting does not fit the study.
    """
    from crowdllm_jax.backbone import weights
    from crowdllm_jax.backbone.tokens import encode
    from crowdllm_jax.backbone.tune.examples import Example

    _check(config, tune)
    prompt, questions = prompt_and_questions(study, config.prompt, config.orders)
    model = weights.outline(config.model, revision=config.revision, dtype=config.dtype)
    asked, shares, count, task = [], [], [], []
    for persona, part in _groups(study, split, config, tune):
        answers, people = option_shares(study, part)
        for place, question in enumerate(questions):
            t = place % len(study.tasks.ids)
            if people[t] > 0:
                asked.append(replace(question, persona=persona))
                own = answers[t, : len(question.options)]
                shares.append(own if place == t else own[::-1])
                count.append(float(people[t]))
                task.append(t)
    seen = np.unique(task)
    if len(seen) < 2 * HELD:
        raise CrowdError(
            f"reference.tune: {len(seen)} training tasks are too few to tune on; it takes "
            f"{2 * HELD}. Hold out fewer (split.test, split.validation), or give it more tasks"
        )
    examples = [
        Example(e, p, w, _steps(study, t, q), int(study.tasks.scale[t]))
        for e, p, w, t, q in zip(
            encode(model.tokenizer, prompt, asked), shares, count, task, asked, strict=True
        )
    ]
    part = np.full(len(study.tasks.ids), -1)
    part[seen] = np.arange(len(seen)) % tune.folds
    name = f"{Path(model.name).stem}-{_digest(model, tune, examples)[:12]}"
    folder = Path(tune.adapters).expanduser() / name
    options = np.ones(len(study.scales), int)
    for t, question in enumerate(questions[: len(part)]):
        options[study.tasks.scale[t]] = max(options[study.tasks.scale[t]], len(question.options))
    return Plan(folder, part, examples, np.array(task), tuple(options.tolist()))


def tune_reference(
    study: Study,
    split: Split,
    config: BackboneReference,
    tune: TuneConfig,
    progress: Progress,
) -> tuple[Path, list[tuple[float, float]]]:
    """Tune the adapters of a split that are not there yet; several processes do it together, and
    the first writes them.

    Returns:
      Their folder, and the validation loss of each before and after (as this call has seen them).
    Raises:
      CrowdError: see `plan_tuning`, or tuning diverges.
    """
    from crowdllm_jax.backbone.decoder import Lora
    from crowdllm_jax.backbone.tune.peft import write_adapter
    from crowdllm_jax.backbone.tune.train import tune as fit_adapters

    plan = plan_tuning(study, split, config, tune)
    processes.meet("what is to be tuned")  # all see the same adapters there
    losses, backbone = [], None
    for part in range(tune.folds):
        if plan.adapters(part).exists():
            continue
        if backbone is None:
            backbone = load_backbone(config, progress, together=True)
        train, validation = plan.examples_of(part)
        checkpoints = plan.folder / f".tuning-{part}"
        stage = f"tune {Path(config.model).name}, {part + 1} of {tune.folds}"

        def report(done: int, total: int, told: str, stage: str = stage) -> None:
            progress(f"{stage} ({told})" if told else stage, done, total)

        tuned = fit_adapters(
            backbone, train, validation, tune, checkpoints, (part,), plan.options, report
        )
        if processes.rank() == 0:
            with new_folder(plan.adapters(part)) as folder:
                lora = Lora(tune.rank, tune.alpha, tune.targets)
                write_adapter(folder, config.model, lora, tuned.arrays)
            shutil.rmtree(checkpoints, ignore_errors=True)
        processes.meet(f"the adapters of {plan.adapters(part)}")
        losses.append((tuned.before, tuned.loss))
    return plan.folder, losses


def ask_tuned(
    study: Study,
    split: Split,
    config: BackboneReference,
    tune: TuneConfig,
    progress: Progress,
) -> Reference:
    """The reference of the tuned model; its embedding is that of the model as it was.

    Raises:
      CrowdError: the split's adapters are not there.
    """
    plan = plan_tuning(study, split, config, tune)
    if not all(plan.adapters(part).exists() for part in range(tune.folds)):
        raise CrowdError(
            f"{plan.folder}: no adapters are there that were tuned on these answers with these "
            "settings; run `crowdllm tune` with this configuration first"
        )
    prompt, questions = prompt_and_questions(study, config.prompt, config.orders)
    sum_of = np.zeros((len(questions), max(len(q.options) for q in questions)))
    mass, times = np.zeros(len(questions)), np.zeros(len(questions))
    of = np.tile(plan.part, len(questions) // len(plan.part))
    for part in range(tune.folds):
        rows = np.flatnonzero((of == part) | (of < 0))
        asked = [questions[i] for i in rows]
        if tune.exit is None:
            scored = ask_with(config, prompt, asked, plan.adapters(part), progress)
        else:
            scale = study.tasks.scale[rows]
            scored = _ask_early(config, prompt, asked, scale, plan.adapters(part), progress)
        sum_of[rows, : scored.probs.shape[1]] += scored.probs
        mass[rows] += scored.mass
        times[rows] += 1
    probs = sum_of / times[:, None]
    values = [np.dot(p[: len(q.values)], q.values) for p, q in zip(probs, questions, strict=True)]
    scored = Scored(
        probs.astype(np.float32),
        (mass / times).astype(np.float32),
        np.array(values, np.float32),
        None,
    )
    states = states_of(study, config, progress)
    return replace(reference_of(study, "tuned", scored), embedding=states)


def _ask_early(
    config: BackboneReference,
    prompt: Prompt,
    questions: Sequence[Question],
    scale: np.ndarray,
    adapters: Path,
    progress: Progress,
) -> Scored:
    """What the model that is left early answers, kept in the cache as others are."""
    from crowdllm_jax.backbone import scoring, weights
    from crowdllm_jax.backbone.tune.answer import early_answers
    from crowdllm_jax.backbone.tune.peft import read_adapter

    adapter = read_adapter(adapters)
    model = weights.outline(config.model, revision=config.revision, dtype=config.dtype)
    model = replace(model, revision=f"{model.revision}+{adapter.digest}")
    encoded, keys = scoring.keys_of(model, questions, prompt)
    # The same text on another scale is answered by another head.
    keys = [
        replace(key, revision=f"{key.revision}+scale {s}")
        for key, s in zip(keys, scale, strict=True)
    ]
    with open_cache(config.cache) as cache:
        answers: list[Answer | None] = list(cache.get(keys))
        if None in answers:
            report = stage_of(f"{config.model}, tuned", progress)
            backbone = load_backbone(config, progress)
            answers = list(early_answers(backbone, adapter, encoded, scale, config.batch, report))
            cache.put([(k, a) for k, a in zip(keys, answers, strict=True) if a is not None])
    return assemble(questions, answers)


def option_shares(study: Study, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, K) shares of what a model is offered (see `reference.questions`) among the people of some
    responses (R,), and (T,) how many these are.

    An answer on a continuous scale counts for the two points beside it; of a ranking or of points
    the share of "yes" is that of the scale's range.
    """
    mean, _, count = task_means(study, part)
    longest = max([2, POINTS, *(scales.size(s) for s in study.scales.values())])
    shares = np.zeros((len(mean), longest))
    for index, scale in enumerate(study.scales.values()):
        rows = np.flatnonzero((study.tasks.scale == index) & (count > 0))
        if scales.is_ballot(scale):
            shares[rows, 0], shares[rows, 1] = 1 - mean[rows], mean[rows]
        elif isinstance(scale, Continuous):
            shares[:, :POINTS] += _beside(study, part, index, POINTS)
        else:
            shares[rows, : scales.size(scale)] = level_shares(study, part, index)[rows]
    return shares, count


def _beside(study: Study, part: np.ndarray, index: int, points: int) -> np.ndarray:
    """(T, P) shares of equally spaced points, each answer counting for the two beside it."""
    own = part & (study.tasks.scale[study.task] == index)
    task, weight = study.task[own], study.weight[own]
    place = unit(study, study.value[own], task).clip(0, 1) * (points - 1)
    lower = np.minimum(place.astype(int), points - 2)
    total = np.zeros((len(study.tasks.ids), points))
    np.add.at(total, (task, lower), weight * (lower + 1 - place))
    np.add.at(total, (task, lower + 1), weight * (place - lower))
    sum_of = total.sum(1, keepdims=True)
    share: np.ndarray = np.divide(total, sum_of, out=np.zeros_like(total), where=sum_of > 0)
    return share


def _steps(study: Study, task: int, question: Question) -> np.ndarray:
    scale = study.scale_of(task)
    if not scales.is_ordered(scale):
        return np.zeros(len(question.values) - 1)
    steps = np.abs(np.diff(question.values))
    width: np.ndarray = steps / steps.sum()
    return width


def _groups(
    study: Study, split: Split, config: BackboneReference, tune: TuneConfig
) -> Iterator[tuple[str, np.ndarray]]:
    """Everybody, and the people of each level of each attribute: how they are introduced, and their
    training responses (R,)."""
    yield "", split.of_reference
    profile = {a.name: a for a in study.participants.profile}
    for name in tune.groups:
        attribute = profile.get(name)
        if attribute is None or not attribute.levels:
            what = "no attribute of the study" if attribute is None else "numeric"
            raise CrowdError(
                f"reference.tune.groups: '{name}' is {what}; name categorical attributes of "
                "study.participants.profile"
            )
        levels = np.arange(len(attribute.levels), dtype=np.int32)
        each = Attribute(attribute.name, attribute.kind, attribute.levels, levels)
        for level, text in enumerate(introductions([each], config.prompt)):
            part = split.of_reference & (attribute.cells[study.person] == level)
            if part.any():
                yield text, part


def _check(config: BackboneReference, tune: TuneConfig) -> None:
    if tune.exit is not None and tune.groups:
        raise CrowdError(
            "reference.tune: with `exit` only the task's own text is read, behind which persons "
            "are introduced; leave out `groups`"
        )
    if tune.exit is not None and config.orders == 2:
        raise CrowdError(
            "reference.tune: with `exit` the options are not read; set reference.orders to 1"
        )
    if config.calibration != "none":
        raise CrowdError(
            "reference.calibration: adapters learn the shares of the options themselves; leave it "
            "out, or leave out reference.tune"
        )
    if config.weights == "quantised":
        raise CrowdError(
            "reference.weights: adapters are added to dense weights; leave it out, or leave out "
            "reference.tune"
        )
    if not tune.targets or len(set(tune.targets)) < len(tune.targets):
        raise CrowdError("reference.tune.targets: name one or more matrices, each once")


def _digest(model: "Outline", tune: TuneConfig, examples: "Sequence[Example]") -> str:
    settings = msgspec.structs.replace(tune, adapters="", recompute=True)
    digest = hashlib.sha256(repr((model.name, model.revision, settings)).encode())
    for e in examples:
        digest.update(repr((e.encoded, e.weight, e.scale)).encode())
        digest.update(e.shares.tobytes() + e.steps.tobytes())
    return digest.hexdigest()
