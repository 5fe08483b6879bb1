"""Ask a fitted crowd something new: the same agents answer questions that nobody has answered yet,
without a fit, and say how far to trust them. What they have answered they remember."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.asked import alone, moved, spreads
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.forecast import Unsure, expected_levels, unsure_of
from crowdllm_jax.model.persistent.learn import learn
from crowdllm_jax.profiles.generator import ProfileGenerator
from crowdllm_jax.profiles.where import groups_of, whom
from crowdllm_jax.reference.task_embeddings import Embedder
from crowdllm_jax.runs.asked import Placed, Sources, check_askable, place
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runs.folder import run_facts
from crowdllm_jax.runs.references import check_references
from crowdllm_jax.runs.trust import held_out_outlook, trust_of
from crowdllm_jax.runtime.given import as_path, told
from crowdllm_jax.runtime.progress import Progress, silent, stage
from crowdllm_jax.study import scales
from crowdllm_jax.study.option_tables import read_choices, spec_of_frame
from crowdllm_jax.study.question_tables import (
    FewAnswers,
    ask_texts,
    known_shares,
    read_few_answers,
    read_questions,
)
from crowdllm_jax.study.questions import Questions, questions_on
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.routing import routes_of
from crowdllm_jax.study.spec import StudySpec
from crowdllm_jax.study.split import split_study
from crowdllm_jax.workflow.ask_audience import LOOKED_AT, audiences, everybody
from crowdllm_jax.workflow.ask_known import (
    KnownQuestions,
    audiences_of,
    behind_choices,
    behind_known,
    check_same,
    known_notes,
    known_places,
    known_questions,
    no_surer,
    tasks_called,
)
from crowdllm_jax.workflow.ask_notes import notes_on, routed_notes, trust_note
from crowdllm_jax.workflow.ask_opened import OpenedRun, checked, opened
from crowdllm_jax.workflow.ask_table import by_question, table_of
from crowdllm_jax.workflow.asking import Answered, Asking

SHARES_OF = 1000.0
"""People whose known shares are taken to be where nobody says."""

TABLES = (".csv", ".tsv", ".parquet", ".xlsx")
"""How tables of questions are called, which nobody asks."""

MOST_PEOPLE = 1e9
"""People whose answers may be known to a question: a thousand million."""


def ask(
    run: str | Path | tuple[Crowd, Study, Config],
    questions: str | Sequence[str] | Path,
    asking: Asking | None = None,
    progress: Progress = silent,
    *,
    data: str | None = None,
) -> Answered:
    """Ask a fitted crowd something new; a question that the run has is answered as it was.

    Args:
      run: a run's folder; or a crowd that `fit` returned, and the study and configuration it was
        fitted to (of seed 0).
      questions: texts, or the path of a table of questions (see `read_questions`).
      asking: on which scale it is asked and what is known of the answers; None: as the run's
        questions are answered that have one scale.
      data: the folder of the study's tables, where they are no longer where the run found them.
    Returns:
      The shares (from 0 to 1) and means of the answers, with 90% intervals, and how far to trust
      them.
    Raises:
      CrowdError: nothing says how people would answer, or what is given does not fit together.

    Examples:
      >>> known = cl.Asking(scale="placement", shares="4,8,13,41,20,11,3", people=200)
      >>> answered = cl.ask((crowd, study, config), "Where would you place Ross Perot?", known)
      >>> answered.table.num_rows  # seven answers and the mean
      8
    """
    if asking is not None and not isinstance(asking, Asking):
        raise CrowdError(f"ask: asking is {told(asking)}; give cl.Asking(...), or nothing")
    if isinstance(run, tuple):
        crowd, study, config = checked(run, "ask")
        split = split_study(study, config.split, 0)
        return answer(
            OpenedRun(crowd, study, config, split, ((crowd, split),)), questions, asking, progress
        )
    folder = as_path(run, "ask: give a run's folder, or (crowd, study, config)")
    with opened(folder, progress, data) as of_folder:
        return answer(of_folder, questions, asking, progress)


def answer(
    run: OpenedRun,
    questions: str | Sequence[str] | Path,
    asking: Asking | None,
    progress: Progress,
) -> Answered:
    """Ask a run that is open; see `ask`."""
    asking = asking or Asking()
    asked = _questions(run, questions, asking)
    check_askable(run.crowd, asked)
    typed = not isinstance(questions, Path)
    rows = tasks_called(run.study, asked.ids, asked.task_scales, typed=typed)
    if isinstance(questions, Path):
        check_same(run.crowd, run.study, asked, rows, questions)
    known = known_questions(run.crowd, run.study, asked, rows, asking.again)
    if known is not None:
        return _known(run, known, asking)
    if run.folder is not None:
        check_references(run.folder, run_facts(run.folder), run.study, run.config)
    few = _few_answers(run, asked, asking)
    generator = whom(run.crowd.generator, asking.where, asking.margins)
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
        wider = [trust.on(int(lends)) for lends in asked.lender]
        learnt = _learn(placed, asked, few, wider)
        stretch = [1.0 if name in few else own for name, own in zip(asked.ids, wider, strict=True)]
        crowd = _alone(placed, asked, learnt, set(few), generator)
        of_all = audiences(placed.crowd, crowd, generator)
        tables = [table_of(of_all, asked, learnt, stretch, None, asking.by)]
        for name, group in groups.items():
            of_group = audiences(placed.crowd, crowd, group)
            tables.append(table_of(of_group, asked, learnt, stretch, name, asking.by))
    measured = trust if run.config.split.by == "tasks" else None
    notes = notes_on(placed, asked, run.crowd.scales, few, measured)
    told = routed_notes(asked, of_all)
    # A group of whom nobody is asked anything has no rows.
    tables = [table for table in tables if len(table)] or tables[:1]
    table = by_question(pa.concat_tables(tables), asked)
    table = no_surer(table, behind_choices(asked, few, run.study, run.split))
    return Answered(crowd, table, trust, (*told, *notes))


def _known(run: OpenedRun, known: KnownQuestions, asking: Asking) -> Answered:
    """What agents answered to questions that the run has, or answer when asked again."""
    if asking.says("answers", "shares", "people"):
        raise CrowdError(
            f"ask: '{known.asked.ids[0]}' is a question of the run, to which its people's answers "
            "are known; leave out --answers, --shares and --people, or ask it under another name"
        )
    generator = whom(run.crowd.generator, asking.where, asking.margins)
    groups = {} if asking.by is None else groups_of(generator, asking.by)
    learnt = known_places(run.crowd, known)
    assert isinstance(run.crowd.inputs, Design)
    unheard = run.crowd.inputs.tasks.known[known.rows] == 0
    parts = run.held if unheard.any() else ()
    trust = trust_of([held_out_outlook(crowd, run.study, split) for crowd, split in parts])
    wider = [trust.on(int(scale)) for scale in run.crowd.task_scale[known.rows]]
    stretch = np.where(unheard, wider, 1.0).tolist()
    of_all = audiences_of(run.crowd, known, generator)
    tables = [table_of(of_all, known.asked, learnt, stretch, None, asking.by)]
    for name, group in groups.items():
        of_group = audiences_of(run.crowd, known, group)
        tables.append(table_of(of_group, known.asked, learnt, stretch, name, asking.by))
    tables = [table for table in tables if len(table)] or tables[:1]
    notes = (*routed_notes(known.asked, of_all), *known_notes(known, run.study))
    if unheard.any():
        measured = trust if run.config.split.by == "tasks" else None
        notes = (*notes, trust_note(measured, list(run.crowd.scales), answered=False))
    table = by_question(pa.concat_tables(tables), known.asked)
    table = no_surer(table, behind_known(known, run.study, run.split))
    crowd = replace(known.crowd, generator=generator)
    return Answered(crowd, table, trust, notes)


def _learn(
    placed: Placed, asked: Questions, few: Mapping[str, FewAnswers], stretch: Sequence[float]
) -> list[Unsure]:
    """What is known of each question after the answers to it, if there are any.

    These are all people's who are asked it, whoever is asked now. Held-out questions calibrate what
    is known before any answer (by `stretch`), not what answers say.
    """
    run = placed.crowd
    new = len(run.task_ids) - len(asked.ids) + np.arange(len(asked.ids))
    learnt = unsure_of(run, new, asked.task_scales, placed.options, placed.said)
    if not few:
        return learnt
    profile = [attribute.name for attribute in run.generator.attributes]
    routes = routes_of(asked.ask_if, asked.ids, asked.task_scales, profile)
    of_all, agents = everybody(run, run.generator), everybody(run, run.generator, LOOKED_AT)
    # Whether someone is asked is told by what is known of the questions before.
    free = [i for i, name in enumerate(asked.ids) if name not in asked.ask_if]
    for row in (*free, *(route.task for route in routes)):
        name = asked.ids[row]
        if name not in few:
            continue
        audience = of_all
        if name in asked.ask_if:
            crowd = _alone(placed, asked, learnt, set(few), run.generator)
            agents = audience = audiences(run, crowd, run.generator)[row]
        if audience.outlook is None or agents.outlook is None:
            raise CrowdError(
                f"ask: '{name}' has known answers, and no agent is asked it (ask_if: "
                f"{asked.ask_if[name]}); correct the condition, or leave these answers out"
            )
        before = replace(learnt[row], root=stretch[row] * learnt[row].root)
        answers, people = _counted(few[name], before)
        outlooks = audience.outlook, agents.outlook
        learnt[row] = learn(*outlooks, before, answers, people, _alike(run, before))
    return learnt


def _questions(run: OpenedRun, questions: str | Sequence[str] | Path, asking: Asking) -> Questions:
    spec = run.config.study if isinstance(run.config.study, StudySpec) else None
    inputs = run.crowd.inputs
    known = inputs.tasks.known if isinstance(inputs, Design) else np.ones(len(run.crowd.task_ids))
    count = np.bincount(run.crowd.task_scale, known, len(run.crowd.scales))
    names = list(run.crowd.scales)
    answered = [names[i] for i in np.argsort(-count, kind="stable") if count[i] > 0]
    if asking.alternatives is not None:
        return _choices(run, questions, asking)
    if isinstance(questions, Path):
        if asking.says("scale", "options", "kind"):
            raise CrowdError(
                "ask: a table of questions says itself on which scales they are (columns scale, or "
                "options and kind); leave out --scale, --options and --kind"
            )
        profile = run.crowd.generator.attributes
        return read_questions(questions, spec, run.crowd.scales, answered, profile)
    texts = [questions] if isinstance(questions, str) else _texts(questions)
    texts = [" ".join(text.split()) for text in texts]
    if (file := Path(texts[0])).suffix.lower() in TABLES and " " not in texts[0]:
        raise CrowdError(
            f"ask: '{file}' is called as a table is; give it as one (--tasks {file}, in Python "
            f"Path('{file}')), or write the question in words"
        )
    if not asking.says("scale", "options", "kind"):
        rows = tasks_called(run.study, texts, [None] * len(texts), typed=True)
        if min(rows) >= 0:
            # Nobody need be told on which scale the run's own questions are.
            own = [names[run.crowd.task_scale[row]] for row in rows]
            return questions_on(texts, texts, own, run.crowd.scales, answered)
    options = None if asking.options is None else list(map(str, asking.options))
    return ask_texts(texts, asking.scale, options, asking.kind, run.crowd.scales, answered)


def _choices(run: OpenedRun, questions: str | Sequence[str] | Path, asking: Asking) -> Questions:
    """Choices among the options of a table."""
    spec = run.config.study
    if not isinstance(spec, StudySpec):
        spec = spec_of_frame(run.study)
    if spec.alternatives is None:
        raise CrowdError(
            "--alternatives: the run knows nothing of what describes options; its study has no "
            "`alternatives` (docs/conjoint.md)"
        )
    if isinstance(questions, Path) or asking.says("scale", "options", "kind"):
        raise CrowdError(
            "--alternatives: says itself what may be chosen; leave out --tasks, --scale, --options "
            "and --kind"
        )
    texts = [questions] if isinstance(questions, str) else list(questions)
    texts = [" ".join(text.split()) for text in texts]
    path = Path(asking.alternatives or "")
    tasks, names = run.study.tasks, list(run.crowd.scales)
    assert tasks.alternatives is not None
    described = [names[i] for i in np.unique(tasks.scale[tasks.alternatives.task])]
    asked = read_choices(path, texts, spec, run.crowd.scales, described)
    if known := set(asked.ids) & set(run.study.tasks.ids):
        raise CrowdError(
            f"{path}: '{min(known)}' is a task of the run, with options of its own; give the "
            "choice another name"
        )
    return asked


def _texts(questions: object) -> list[str]:
    """Several questions; raises CrowdError if they are no texts, or a data frame's columns."""
    named = isinstance(questions, Mapping) or hasattr(questions, "columns")
    several = list(questions) if isinstance(questions, Iterable) and not named else []
    texts = [text for text in several if isinstance(text, str)]
    if not texts or len(texts) < len(several):
        raise CrowdError(
            "ask: give a question, a list of them, or the path of a table (as pathlib.Path; a data "
            "frame is written by frame.to_csv('questions.csv', index=False))"
        )
    return texts


def _few_answers(run: OpenedRun, asked: Questions, asking: Asking) -> dict[str, FewAnswers]:
    """The answers there are to the questions, by their ids."""
    spec = run.config.study if isinstance(run.config.study, StudySpec) else None
    if asking.shares is not None:
        if asking.answers is not None:
            raise CrowdError("ask: give --answers or --shares, not both")
        if len(asked.ids) != 1:
            raise CrowdError("--shares: are of one question; ask one at a time, or give --answers")
        people = SHARES_OF if asking.people is None else asking.people
        if not isinstance(people, int | float | np.number):
            raise CrowdError(f"--people {people}: give a number above 0")
        if not 0 < people < np.inf:
            raise CrowdError(f"--people {people:g}: give a number above 0")
        if people > MOST_PEOPLE:
            raise CrowdError(f"--people {people:g}: give at most {MOST_PEOPLE:,.0f}")
        text = asking.shares
        text = text if isinstance(text, str) else ",".join(map(str, text))
        return {asked.ids[0]: known_shares(text, people, asked.task_scales[0])}
    if asking.people is not None:
        raise CrowdError("--people: says how many people's --shares are; give these, too")
    if asking.answers is None:
        return {}
    few = read_few_answers(Path(asking.answers), spec, asked)
    for name, answers in few.items():
        if answers.people.sum() > MOST_PEOPLE:
            raise CrowdError(
                f"{asking.answers}: '{name}' has the answers of {answers.people.sum():g} people "
                f"(column people); give at most {MOST_PEOPLE:,.0f}"
            )
    return few


def _alike(crowd: Crowd, task: Unsure) -> int:
    """How many tasks on a task's very scale are known."""
    assert isinstance(crowd.inputs, Design)
    known, scale = crowd.inputs.tasks.known > 0, crowd.inputs.tasks.scale
    own = scale == scale[task.row] if task.scale == task.lent else np.zeros(len(scale), bool)
    return int((known & own).sum())


def _counted(few: FewAnswers, task: Unsure) -> tuple[np.ndarray, np.ndarray]:
    """Answers as levels, or as shares of a continuous scale's range."""
    if scales.size(task.scale):
        return few.answer, few.people
    low, high = scales.values(task.scale)
    return (few.answer - low) / (high - low), few.people


def _alone(
    placed: Placed,
    asked: Questions,
    learnt: Sequence[Unsure],
    answered: set[str],
    generator: ProfileGenerator,
) -> Crowd:
    """The crowd of the questions, moved to where the answers to them say."""
    unheard, crowd = {}, placed.crowd
    for place_of, (name, task) in enumerate(zip(asked.ids, learnt, strict=True)):
        sd = np.sqrt((task.root**2).sum(1))
        if task.unheard:
            unheard[place_of] = expected_levels(task)
        elif name in answered:
            task_sd, level_sd = spreads(crowd)
            task_sd[task.row], level_sd[task.row, : len(sd) - 1] = sd[0], sd[1:]
            middle = np.zeros((1, 1 + level_sd.shape[1]))
            middle[0, : len(sd)] = task.middle
            crowd = moved(crowd, np.array([task.row]), middle, task_sd, level_sd)
    crowd = alone(crowd, asked, unheard, placed.options)
    return replace(crowd, generator=generator)
