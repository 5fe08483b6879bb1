"""Ask a fitted crowd something new: the same agents answer questions that nobody has answered yet,
without a fit, and say how far to trust them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.crowd_file import crowd_fingerprint
from crowdllm_jax.model.persistent.asked import alone, moved, spreads
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.forecast import Outlook, Unsure, unsure_of
from crowdllm_jax.population.panel import panel_of
from crowdllm_jax.population.write import scale_entry, write_population
from crowdllm_jax.profiles.generator import ProfileGenerator
from crowdllm_jax.profiles.where import among, condition_of, groups_of
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.reference.task_embeddings import Embedder
from crowdllm_jax.runs.asked import Placed, Sources, check_askable, place
from crowdllm_jax.runs.config import Config, load_study
from crowdllm_jax.runs.folder import (
    crowd_folder,
    fitted_crowd,
    kept_reference,
    main_model,
    open_run,
    split_crowd,
    stored_config,
)
from crowdllm_jax.runs.prepare import folds_in
from crowdllm_jax.runs.trust import (
    FEWEST,
    NORMAL,
    Trust,
    held_out_outlook,
    stretched_interval,
    trust_of,
)
from crowdllm_jax.runtime.files import write_whole
from crowdllm_jax.runtime.progress import READ, Progress, silent, stage
from crowdllm_jax.runtime.randomness import key_of
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import feature_blocks
from crowdllm_jax.study.question_tables import (
    FewAnswers,
    ask_texts,
    known_shares,
    read_few_answers,
    read_questions,
)
from crowdllm_jax.study.questions import Questions
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.spec import StudySpec
from crowdllm_jax.study.split import Split, split_study

PANEL = 2048
"""Agents whose beliefs the shares are worked out of, in each group."""
FAR = 0.99
"""A question farther from the nearest training question than this part of these are from each
other is told to be unlike them."""


SHARES_OF = 1000.0
"""People whose known shares are taken to be where nobody says."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How a question is put, and to whom.

    Attributes:
      scale: the name of a scale of the run; options: the answers that may be given, in their order,
        in its place; kind: of the options: ordinal (binary if there are two), nominal, binary, or
        continuous (whose options are its two ends).
      answers: a table of some people's answers to the questions. shares: known shares of the levels
        of a single question, lowest first, as `people` people's (None: 1000).
      embedder: the model that turned the run's texts into vectors, where its table does not say.
      where: a condition on the agents' profiles. by: an attribute whose values are told apart.
    """

    scale: str | None = None
    options: tuple[str, ...] | None = None
    kind: str | None = None
    answers: Path | None = None
    shares: str | None = None
    people: float | None = None
    embedder: str | None = None
    where: str | None = None
    by: str | None = None


@dataclass(frozen=True)
class Answered:
    """What a crowd says to new questions.

    Attributes:
      crowd: whose agents answer them alone: `sample` draws them, each as in the run's population.
      table: task_id, (the attribute of `by`,) answer, share, low, high (90%), people (how many
        asked would make as narrow an interval); the row "(mean)" holds the mean answer.
      trust: how the run's held-out questions were met. notes: sentences on all that.
    """

    crowd: Crowd
    table: pa.Table
    trust: Trust
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Run:
    """A fitted run: its crowd, the split this was fitted to, the splits that hold tasks out, and
    the reference it was fitted with, where it is kept."""

    crowd: Crowd
    study: Study
    config: Config
    split: Split
    held: tuple[tuple[Crowd, Split], ...]
    kept: Reference | None = None


def ask(
    run: str | Path | tuple[Crowd, Study, Config],
    questions: str | Sequence[str] | Path,
    asking: Asking | None = None,
    progress: Progress = silent,
) -> Answered:
    """Ask a fitted crowd something new.

    Args:
      run: a run's folder; or a crowd that `fit` returned, and the study and configuration it was
        fitted to (of seed 0).
      questions: texts, or the path of a table of questions (see `read_questions`).
    Raises:
      CrowdError: nothing says how people would answer, or what is given does not fit together.
    """
    if isinstance(run, tuple):
        crowd, study, config = run
        split = split_study(study, config.split, 0)
        return _ask(
            _Run(crowd, study, config, split, ((crowd, split),)), questions, asking, progress
        )
    with _opened(Path(run), progress) as opened:
        return _ask(opened, questions, asking, progress)


def ask_run(
    folder: Path,
    questions: str | Sequence[str] | Path,
    asking: Asking,
    out: Path | None = None,
    *,
    agents: int | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> tuple[Answered, Path]:
    """Ask a run's crowd something new and write what its agents answer.

    Args:
      out: None is a folder of its own in RUN/asked, which the same questions find again.
      agents, seed: of the population; None as configured.
    Returns:
      what is answered, and the population's folder, beside whose tables stands asked.json.
    """
    with _opened(folder, progress) as run:
        answered = _ask(run, questions, asking, progress)
        population = run.config.population
        agents = population.agents if agents is None else agents
        seed = population.seed if seed is None else seed
        target = out or folder / "asked" / _slug(answered.crowd, agents, seed)
        target.parent.mkdir(parents=True, exist_ok=True)
        progress("sample", 0, agents)
        write_population(
            answered.crowd,
            target,
            agents,
            seed,
            lambda done, total: progress("sample", done, total),
            population.layout,
        )
        told = {
            "of": crowd_fingerprint(run.crowd),
            "where": asking.where,
            "questions": {
                name: scale_entry(scale)
                for name, scale in zip(
                    answered.crowd.task_ids, answered.crowd.task_scales, strict=True
                )
            },
            "notes": answered.notes,
            "answers": [
                {name: None if cell != cell else cell for name, cell in row.items()}
                for row in answered.table.to_pylist()
            ],
        }
        write_whole(target / "asked.json", json.dumps(told, indent=1, ensure_ascii=False).encode())
    return answered, target


def _slug(crowd: Crowd, agents: int, seed: int) -> str:
    """A folder's name that says what was asked, and is another for anything else."""
    first = "".join(c if c.isalnum() else "-" for c in crowd.task_ids[0].lower())[:40].strip("-")
    return f"{first}-{key_of(f'{crowd_fingerprint(crowd)} {agents} {seed}') % 16**6:06x}"


@contextmanager
def _opened(folder: Path, progress: Progress) -> Iterator[_Run]:
    """A run's folder, locked, with its study."""
    config = stored_config(folder)
    with stage(progress, READ):
        study = load_study(config)
    folds = folds_in(study, config)
    with open_run(folder, study=study):
        crowd = fitted_crowd(folder)
        single = len(folds) == 1
        split = split_study(study, config.split, 0, None if single else "all")
        held: list[tuple[Crowd, Split]] = [(crowd, split)]
        if not single and config.split.by == "tasks":
            held = [
                (split_crowd(folder, fold), split_study(study, config.split, 0, fold))
                for fold in folds
            ]
        kept = kept_reference(crowd_folder(folder, 0, main_model(config)).parent.parent)
        yield _Run(crowd, study, config, split, tuple(held), kept)


def _ask(
    run: _Run,
    questions: str | Sequence[str] | Path,
    asking: Asking | None,
    progress: Progress,
) -> Answered:
    asking = asking or Asking()
    asked = _questions(run, questions, asking)
    check_askable(run.crowd, asked)
    few = _few_answers(run, asked, asking)
    generator = run.crowd.generator
    if asking.where is not None:
        generator = among(generator, condition_of(asking.where))
    groups = {} if asking.by is None else groups_of(generator, asking.by)
    embedder = None if asking.embedder is None else Embedder(asking.embedder)
    given = Sources(
        questions if isinstance(questions, Path) else None, embedder, frozenset(few), run.kept
    )
    with stage(progress, "place the questions"):
        placed = place(run.crowd, run.study, run.split, run.config, asked, given, progress)
    with stage(progress, "learn how far to trust it"):
        trust = trust_of([held_out_outlook(c, run.study, split) for c, split in run.held])
    with stage(progress, "ask"):
        # What is known of a question is what all people's answers to it say, whoever is asked now.
        everybody = Outlook(placed.crowd, panel_of(placed.crowd, PANEL, 0))
        rows = len(run.study.tasks.ids) + np.arange(len(asked.ids))
        unsure = unsure_of(placed.crowd, rows, asked.task_scales)
        # Held-out questions calibrate what is known before any answer, not what answers say.
        learnt = [
            everybody.learn(
                replace(task, root=trust.stretch * task.root), *_counted(few[name], task)
            )
            if name in few
            else task
            for name, task in zip(asked.ids, unsure, strict=True)
        ]
        stretch = [1.0 if name in few else trust.stretch for name in asked.ids]
        crowd = _alone(placed.crowd, asked, learnt, set(few), generator)
        table = pa.concat_tables(
            _answers(placed.crowd, asked, learnt, stretch, group, name, asking.by)
            for name, group in [(None, generator), *groups.items()]
        )
    notes = _notes(run, placed, asked, few, trust)
    return Answered(crowd, _by_question(table, asked), trust, notes)


def _questions(run: _Run, questions: str | Sequence[str] | Path, asking: Asking) -> Questions:
    spec = run.config.study if isinstance(run.config.study, StudySpec) else None
    inputs = run.crowd.inputs
    known = inputs.tasks.known if isinstance(inputs, Design) else np.ones(len(run.crowd.task_ids))
    count = np.bincount(run.crowd.task_scale, known, len(run.crowd.scales))
    names = list(run.crowd.scales)
    answered = [names[i] for i in np.argsort(-count, kind="stable") if count[i] > 0]
    if isinstance(questions, Path):
        if (asking.scale, asking.options, asking.kind) != (None, None, None):
            raise CrowdError(
                "ask: a table of questions says itself on which scales they are (columns scale, or "
                "options and kind); leave out --scale, --options and --kind"
            )
        return read_questions(questions, spec, run.crowd.scales, answered)
    texts = [questions] if isinstance(questions, str) else list(questions)
    texts = [" ".join(text.split()) for text in texts]
    return ask_texts(texts, asking.scale, asking.options, asking.kind, run.crowd.scales, answered)


def _few_answers(run: _Run, asked: Questions, asking: Asking) -> dict[str, FewAnswers]:
    """The answers there are to the questions, by their ids."""
    spec = run.config.study if isinstance(run.config.study, StudySpec) else None
    if asking.shares is not None:
        if asking.answers is not None:
            raise CrowdError("ask: give --answers or --shares, not both")
        if len(asked.ids) != 1:
            raise CrowdError("--shares: are of one question; ask one at a time, or give --answers")
        people = SHARES_OF if asking.people is None else asking.people
        if not 0 < people < np.inf:
            raise CrowdError(f"--people {people:g}: give a number above 0")
        shares = known_shares(asking.shares, people, asked.task_scales[0])
        return {asked.ids[0]: shares}
    if asking.people is not None:
        raise CrowdError("--people: says how many people's --shares are; give these, too")
    return {} if asking.answers is None else read_few_answers(asking.answers, spec, asked)


def _counted(few: FewAnswers, task: Unsure) -> tuple[np.ndarray, np.ndarray]:
    """Answers as levels, or as shares of a continuous scale's range."""
    if scales.size(task.scale):
        return few.answer, few.people
    low, high = scales.values(task.scale)
    return (few.answer - low) / (high - low), few.people


def _alone(
    crowd: Crowd,
    asked: Questions,
    learnt: Sequence[Unsure],
    answered: set[str],
    generator: ProfileGenerator,
) -> Crowd:
    """The crowd of the questions, moved to where the answers to them say."""
    unheard = {}
    for place_of, (name, task) in enumerate(zip(asked.ids, learnt, strict=True)):
        sd = np.sqrt((task.root**2).sum(1))
        if task.unheard:
            unheard[place_of] = task.middle[1:].astype(np.float32)
        elif name in answered:
            task_sd, level_sd = spreads(crowd)
            task_sd[task.row], level_sd[task.row, : len(sd) - 1] = sd[0], sd[1:]
            middle = np.zeros((1, 1 + level_sd.shape[1]))
            middle[0, : len(sd)] = task.middle
            crowd = moved(crowd, np.array([task.row]), middle, task_sd, level_sd)
    return replace(alone(crowd, asked, unheard), generator=generator)


def _answers(
    crowd: Crowd,
    asked: Questions,
    learnt: Sequence[Unsure],
    stretch: Sequence[float],
    generator: ProfileGenerator,
    group: str | None,
    by: str | None,
) -> pa.Table:
    """Shares and means of the questions among agents that are recruited so."""
    outlook = Outlook(crowd, panel_of(replace(crowd, generator=generator), PANEL, 0))
    columns: dict[str, list[object]] = {name: [] for name in ("task_id", "group", "answer")}
    numbers: dict[str, list[float | None]] = {n: [] for n in ("share", "low", "high", "people")}

    def row(task: Unsure, answer: str, value: float, low: float, high: float, n: float) -> None:
        text = (asked.ids[task.row - len(crowd.task_ids) + len(asked.ids)], group, answer)
        for name, cell in zip(columns, text, strict=True):
            columns[name].append(cell)
        for name, number in zip(numbers, (value, low, high, n), strict=True):
            numbers[name].append(float(number))

    for task, by_so_much in zip(learnt, stretch, strict=True):
        shares, mean = outlook.draws(task)
        values = scales.values(task.scale)
        if shares is not None:
            low, high = stretched_interval(shares, by_so_much)
            for level, name in enumerate(scales.labels(task.scale)):
                p = float(shares[:, level].mean())
                half = (high[level] - low[level]) / 2
                row(task, name, p, low[level], high[level], worth(p * (1 - p), half))
        if scales.is_ordered(task.scale):
            width = values[-1] - values[0]
            unit = ((mean - values[0]) / width)[:, None]
            low, high = (values[0] + width * end[0] for end in stretched_interval(unit, by_so_much))
            variance = np.nan
            if shares is not None:
                share = shares.mean(0)
                variance = float(share @ values**2 - (share @ values) ** 2)
            row(task, "(mean)", mean.mean(), low, high, worth(variance, (high - low) / 2))
    table = pa.table({**columns, **numbers})
    if by is None:
        return table.drop_columns(["group"])
    everyone = pa.array([g if g is not None else "(all)" for g in columns["group"]], pa.string())
    return table.set_column(
        1, f"profile_{by}" if by.casefold() in table.column_names else by, everyone
    )


def worth(variance: float, half: float) -> float:
    """How many people's answers have a 90% interval that is so wide on either side."""
    return float(variance * (NORMAL / max(half, 1e-9)) ** 2)


def _by_question(table: pa.Table, asked: Questions) -> pa.Table:
    """Rows question by question, and within each group by group."""
    order = {name: i for i, name in enumerate(asked.ids)}
    rank = np.array([order[name] for name in table["task_id"].to_pylist()])
    return table.take(pa.array(np.argsort(rank, kind="stable")))


def _notes(
    run: _Run, placed: Placed, asked: Questions, few: dict[str, FewAnswers], trust: Trust
) -> tuple[str, ...]:
    notes = []
    far = _unlike(placed, len(asked.ids))
    names = list(run.crowd.scales)
    for i, name in enumerate(asked.ids):
        where = placed.how[i]
        if name in few:
            count = f"{few[name].people.sum():,.0f} known answers"
            where = f"{where}, moved by {count}" if where else count
        notes.append(f"'{name}': placed by {where}.")
        scale, lends = asked.task_scales[i], names[asked.lender[i]]
        if run.crowd.scales[lends] != scale:
            notes.append(_lent_note(name, scale, lends, run.crowd.scales[lends]))
        if far[i]:
            notes.append(
                f"'{name}' is unlike all training questions (farther from the nearest than "
                f"{FAR:.0%} of these are from each other): its interval may be too narrow."
            )
    return (*notes, _trust_note(run, trust, answered=bool(few)))


def _lent_note(name: str, scale: scales.Scale, lends: str, lent: scales.Scale) -> str:
    if isinstance(scale, scales.Nominal):
        return (
            f"'{name}': the run has no scale with these options, so nothing is known of what tells "
            "them apart; agents choose among them by chance, but for the answers that are given."
        )
    if scales.is_continuous(scale):
        return f"'{name}': the run has no scale with these ends; it takes that of '{lends}'."
    k, size = scales.size(lent), scales.size(scale)
    steps = "the steps" if k == size else f"the {k} levels, stretched over {size},"
    return (
        f"'{name}': the run has no such scale; its thresholds are {steps} of '{lends}', from "
        f"'{scales.labels(scale)[0]}' (lowest) to '{scales.labels(scale)[-1]}' (highest)."
    )


def _trust_note(run: _Run, trust: Trust, *, answered: bool) -> str:
    before = " before the known answers" if answered else ""
    if run.config.split.by != "tasks" or not trust.questions:
        return (
            "This run held out no questions, so how close its answers to new ones come is not "
            "measured: the intervals are the model's own (split: {by: tasks} measures it)."
        )
    if not np.isfinite(trust.way) and trust.questions >= FEWEST:
        return (
            f"On {trust.questions} held-out questions people's shares differ no more than chance "
            "makes them, so how far this crowd came is not measured; 90% intervals are "
            f"{trust.stretch:.2f} times the model's{before}, to hold on these."
        )
    if not np.isfinite(trust.way):
        return (
            f"Only {trust.questions} questions were held out, too few to measure how close answers "
            "to new ones come: the intervals are the model's own."
        )
    return (
        f"On {trust.questions} held-out questions like these, this crowd came {trust.way:.0%} "
        f"({trust.low:.0%} to {trust.high:.0%}) of the way from knowing nothing to the people's "
        f"own shares; 90% intervals are {trust.stretch:.2f} times the model's{before}, to hold on "
        "these."
    )


def _unlike(placed: Placed, count: int) -> np.ndarray:
    """(A,) bool: which questions' features are far from those of all training tasks."""
    design, blocks = placed.crowd.inputs, feature_blocks(placed.study.tasks)
    assert isinstance(design, Design)
    if not blocks or (design.tasks.known > 0).sum() < 3:
        return np.zeros(count, bool)
    # Not the model's own columns: these are clipped to the range of the training tasks.
    x = np.concatenate(list(blocks.values()), axis=1)
    known, new = x[design.tasks.known > 0], x[-count:]
    usual = np.quantile(_to_nearest(known, known, 1), FAR)
    # Distances of 0 are so to rounding alone.
    return np.asarray(_to_nearest(new, known, 0) > usual + 1e-5)


def _to_nearest(x: np.ndarray, known: np.ndarray, nearer: int) -> np.ndarray:
    """(N,) distance of each row from those known: to the nearest but for so many."""
    known = known.astype(np.float64)
    length, nearest = (known**2).sum(1), []
    # A few at a time, by a product of matrices: trees do not help among hundreds of columns.
    for part in np.array_split(x.astype(np.float64), 1 + len(x) // 1024):
        square = (part**2).sum(1)[:, None] + length - 2 * part @ known.T
        nearest.append(np.partition(square, nearer, axis=1)[:, nearer])
    return np.sqrt(np.concatenate(nearest).clip(0))
