"""An answer has one meaning: by whichever door it comes in, and in every file that goes out.

On scales of every kind, with any codes and labels: what is written is read back as what it was, and
the same data written in other ways are the same study, with the same scores to the last digit.
"""

import dataclasses
import itertools
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import msgspec
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from few_drawings import few_drawings  # noqa: F401
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from known_people import make_known
from synthetic import EVERY_SCALE, make_study, write_table

from crowdllm_jax.aggregate.decide import decide
from crowdllm_jax.aggregate.decide import write_table as write_decisions
from crowdllm_jax.backbone.reading import parse
from crowdllm_jax.cli.command_line import parser
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.infer.question import _level
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.response import level_dtype
from crowdllm_jax.population import write as output
from crowdllm_jax.population.agents import Agents
from crowdllm_jax.population.counts import Counts
from crowdllm_jax.population.read import open_population
from crowdllm_jax.population.twins import Twins
from crowdllm_jax.population.write import write_population
from crowdllm_jax.population.write_counts import write_counts
from crowdllm_jax.population.write_twins import write_twins
from crowdllm_jax.reference.column import ColumnReference, from_column
from crowdllm_jax.reference.questions import PromptConfig, prompt_and_questions
from crowdllm_jax.runs.config import load_study
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.read import read_study
from crowdllm_jax.study.records import Study, Tasks, fingerprint
from crowdllm_jax.study.scales import (
    Approval,
    Binary,
    Continuous,
    KApproval,
    Nominal,
    Ordinal,
    Points,
    Ranking,
    Scale,
)
from crowdllm_jax.study.spec import ParticipantsSpec, ResponsesSpec, StudySpec, TasksSpec
from crowdllm_jax.workflow.twins import _answers_to

WORDS = (
    "très bien",
    "No",
    "yes",
    "no",
    "1st",
    "A, B",
    'say "hi"',
    "100%",
    "-",
    "true",
    "False",
    "null",
    "NaN",
    "=x",
    "a;b",
    "Köln",
    "I do not know",
    "don't know",
    "5-7",
    "10 to 20",
    "もう",
    "q[1]",
)


@pytest.fixture(scope="module")
def new_folder(tmp_path_factory) -> Callable[[], Path]:
    """A folder for each example."""
    return lambda: tmp_path_factory.mktemp("example")


class Case(NamedTuple):
    """A scale, and what its levels are by how it was made: texts, and numbers where all have one
    besides."""

    scale: Scale
    codes: tuple[str, ...]
    numbers: tuple[float, ...] | None


def words(size: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.permutations(WORDS).map(lambda shuffled: tuple(shuffled[:size]))


@st.composite
def numbered(draw) -> tuple[list[int | float | str], tuple[float, ...]]:
    """Increasing numbers as levels: bare, quoted, padded, or with words after some or all."""
    integers = draw(st.booleans())
    one_number = st.integers(-20, 120) if integers else st.integers(-200, 900).map(lambda i: i / 8)
    numbers = sorted(draw(st.lists(one_number, min_size=2, max_size=6, unique=True)))
    way = draw(st.sampled_from(["bare", "float", "quoted", "padded", "ends", "all"]))
    match way:
        case "bare":
            levels = numbers
        case "float":
            levels = [float(n) for n in numbers]
        case "quoted":
            levels = [str(n) for n in numbers]
        case "padded":
            levels = [f"0{n}" if n >= 0 else str(n) for n in numbers]
        case _:
            last = len(numbers) - 1
            worded = [way == "all" or i in (0, last) for i in range(last + 1)]
            dash = draw(st.sampled_from([" - ", ": ", " = ", ". "]))
            levels = [
                f"{n}{dash}so {chr(97 + i)}" if w else n
                for i, (n, w) in enumerate(zip(numbers, worded, strict=True))
            ]
            if way == "ends":
                levels = [str(level) for level in levels]
    return levels, tuple(map(float, numbers))


@st.composite
def leveled(draw) -> Case:
    """Scales whose levels the study file lists, with labels or without."""
    kind = draw(st.sampled_from([Ordinal, Nominal, Binary]))
    if draw(st.booleans()):
        levels, numbers = draw(numbered())
        if kind is Binary:
            levels, numbers = levels[:2], numbers[:2]
        if kind is not Ordinal:
            order = draw(st.permutations(range(len(levels))))
            levels, numbers = [levels[i] for i in order], tuple(numbers[i] for i in order)
    else:
        levels, numbers = list(draw(words(2 if kind is Binary else draw(st.integers(2, 5))))), None
    labels = draw(st.just(()) | words(len(levels)))
    if labels and draw(st.booleans()):
        labels = ("", *labels[1:])  # then the level is shown as it is written
    scale = kind(levels=tuple(levels), labels=labels)
    try:
        scale_text.check(scale, "it")
    except CrowdError:
        assume(False)  # a text of two levels, which other tests are about
    return Case(scale, tuple(map(str, levels)), numbers)


def ballots() -> st.SearchStrategy[Case]:
    def case(scale: Scale, numbers: range | list[int]) -> Case:
        return Case(scale, tuple(map(str, numbers)), tuple(map(float, numbers)))

    return st.one_of(
        st.just(case(Approval(), [0, 1])),
        st.integers(1, 3).map(lambda k: case(KApproval(k=k), [0, 1])),
        st.integers(1, 3).map(lambda k: case(Ranking(k=k), [0, *range(k, 0, -1)])),
        st.integers(1, 12).map(lambda b: case(Points(budget=b), range(b + 1))),
    )


OPTIONS = parser()
CONTINUOUS = Case(Continuous(low=-10.0, high=30.0), (), None)


def spellings(case: Case, level: int) -> list[str]:
    """All ways in which a study's file, or another program, may write a level."""
    ways = [case.codes[level], scales.labels(case.scale)[level]]
    if case.numbers is not None:
        number = case.numbers[level]
        ways += [repr(number), f"{number:g}", f"{number:.4f}"]
    return ways


def disguised(text: str, form: int) -> str:
    """The same to the eye."""
    return (
        text,
        unicodedata.normalize("NFD", text),
        f" {text}\u00a0",
        text.replace(" ", "\u00a0 "),
    )[form % 4]


def spec_of(folder: Path, scale: Scale, file: str, **more) -> StudySpec:
    return StudySpec(
        responses=ResponsesSpec(path=file), scales={"s": scale}, folder=str(folder), **more
    )


def of_option(text: str) -> str:
    """A level as the command line takes it."""
    return OPTIONS.parse_args(["infer", "run", f"--share={text}"]).share


def all_answers(case: Case) -> dict[str, list]:
    """A row for every level in every spelling and disguise, answered to four tasks in turn."""
    rows = [
        (disguised(text, form), level)
        for level in range(len(case.codes))
        for text in spellings(case, level)
        for form in range(4)
    ]
    return {
        "participant": [f"p{i // 4:03d}" for i in range(len(rows))],
        "task": [f"t{i % 4}" for i in range(len(rows))],
        "response": [text for text, _ in rows],
        "level": [level for _, level in rows],
    }


@settings(max_examples=40)
@given(leveled(), st.sampled_from(["csv", "parquet"]))
def test_an_answer_is_read_as_its_level_by_every_door(new_folder, case, suffix):
    folder = new_folder()
    columns = all_answers(case)
    level = columns.pop("level")
    write_table(folder / f"answers.{suffix}", columns)
    spec = spec_of(folder, case.scale, f"answers.{suffix}")
    study = read_study(spec)
    assert study.answer.tolist() == level
    # People whose twins are wanted.
    asked = Tasks(study.tasks.ids, study.tasks.ids, study.tasks.scale, (), None)
    crowd = SimpleNamespace(scales=spec.scales, task_ids=asked.ids, task_scale=asked.scale)
    twins = _answers_to(crowd, spec, folder / f"answers.{suffix}", None)
    assert twins.answer.tolist() == level
    # An option of the command line.
    for text, wanted in zip(columns["response"], level, strict=True):
        assert _level(spec.scales["s"], of_option(text)) == wanted
    reads_tables(folder, case, study, columns, suffix)
    reads_models(case, study)


def reads_tables(folder: Path, case: Case, study: Study, columns: dict, suffix: str) -> None:
    """A reference's answers, a probability beside each answer, a column for each level."""
    k = len(case.codes)
    shares = np.zeros((4, k))
    np.add.at(shares, (study.task, study.answer.astype(int)), 1)
    shares /= shares.sum(1, keepdims=True)

    def probs(file: str, table: dict[str, list[str]], **keys) -> np.ndarray:
        write_table(folder / file, table)
        reference = from_column(study, ColumnReference(path=file, **keys), str(folder))
        mean = reference.probs @ scales.values(case.scale)
        np.testing.assert_allclose(reference.mean, mean, rtol=1e-9, atol=1e-9)
        return reference.probs

    for key in ("answer", "value"):
        read_probs = probs(f"{key}.{suffix}", columns, **{key: "response"})
        np.testing.assert_allclose(read_probs, shares, atol=1e-12)
    wanted = np.random.default_rng(k).dirichlet(np.ones(k), 4)
    every = [
        [
            (disguised(text, i), level)
            for level in range(k)
            for i, text in enumerate(spellings(case, level)[way : way + 1])
        ]
        for way in range(len(spellings(case, 0)))
    ]
    for way, names in enumerate(every):
        cells = [
            (f"t{t}", text, repr(float(wanted[t, level])))
            for t in range(4)
            for text, level in names
        ]
        table = dict(zip(("task", "a", "p"), map(list, zip(*cells, strict=True)), strict=True))
        read_probs = probs(f"p{way}.{suffix}", table, answer="a", probability="p")
        np.testing.assert_allclose(read_probs, wanted, atol=1e-12)
        # Columns that are called in another order than the levels'.
        back = names[::-1]
        table = {"task": [f"t{t}" for t in range(4)]} | {
            text: [repr(float(p)) for p in wanted[:, level]] for text, level in back
        }
        level_columns = tuple(text for text, _ in back)
        for given_as in (level_columns, dict(zip(level_columns, level_columns, strict=True))):
            read_probs = probs(f"w{way}.{suffix}", table, probabilities=given_as)
            np.testing.assert_allclose(read_probs, wanted, atol=1e-12)


def reads_models(case: Case, study: Study) -> None:
    """A language model's answer."""
    text = tuple(f"What about {name}?" for name in study.tasks.ids)
    tasks = dataclasses.replace(study.tasks, text=text)
    question = prompt_and_questions(dataclasses.replace(study, tasks=tasks), PromptConfig())[1][0]
    for level in range(len(case.codes)):
        for way in spellings(case, level):
            assert parse(way, question) == level, (way, question)
            assert parse(f"My answer: {way}", question) in (level, None)


@pytest.mark.parametrize(
    ("scale", "answers"),
    [
        (Ordinal(levels=("0 - never", "1", "2 - always")), {"0": 0, "1": 1, "2.0": 2, "**2**": 2}),
        (Nominal(levels=("3 - left", "1 - right")), {"3": 0, "My answer: 1": 1, "2": None}),
        # What begins a label that the model was shown counts before a code that it was not.
        (
            Ordinal(levels=(1, 2, 3), labels=("0 times", "1 time", "2 times")),
            {"0": 0, "1": 1, "2": 2, "3": 2, "1 time": 1},
        ),
        (Ordinal(levels=(1, 2), labels=("never", "often")), {"1": 0, "2": 1, "0": None}),
        (Ordinal(levels=("18-24", "25-34")), {"18": None, "25-34": 1}),
    ],
)
def test_a_model_answers_with_the_number_it_was_shown(scale, answers):
    (question,) = prompt_and_questions(make_study({"s": scale}, tasks=1), PromptConfig())[1]
    assert {text: parse(text, question) for text in answers} == answers


@settings(max_examples=20)
@given(ballots())
def test_a_vote_is_read_as_its_level_by_every_door(new_folder, case):
    """As tables of ranks, votes or points; a model is asked for yes or no."""
    for level in range(len(case.codes)):
        for text, form in itertools.product(spellings(case, level), range(4)):
            assert _level(case.scale, of_option(disguised(text, form))) == level
    folder = new_folder()
    study = make_study({"s": case.scale}, people=12, tasks=4)
    columns = {
        "participant": [study.participants.ids[p] for p in study.person],
        "task": [study.tasks.ids[t] for t in study.task],
        "response": [
            disguised(spellings(case, int(level))[i % 5], i // 5)
            for i, level in enumerate(study.answer)
        ],
    }
    write_table(folder / "a.csv", columns)
    np.testing.assert_array_equal(
        read_study(spec_of(folder, case.scale, "a.csv")).answer, study.answer
    )
    reference = from_column(study, ColumnReference(path="a.csv", answer="response"), str(folder))
    for task in range(4):
        shares = (
            np.bincount(study.answer[study.task == task].astype(int), minlength=len(case.codes))
            / 12
        )
        np.testing.assert_allclose(reference.probs[task], shares, atol=1e-12)


@given(st.floats(-10, 30), st.integers(0, 3))
def test_a_number_is_read_to_the_last_digit(new_folder, number, form):
    folder = new_folder()
    scale = CONTINUOUS.scale
    columns = {"participant": ["a"], "task": ["q"], "response": [disguised(repr(number), form)]}
    write_table(folder / "text.csv", columns)
    pq.write_table(pa.table(columns | {"response": [number]}), folder / "typed.parquet")
    for file in ("text.csv", "typed.parquet"):
        study = read_study(spec_of(folder, scale, file))
        assert study.answer.tolist() == [number]
        for key in ("answer", "value"):
            reference = ColumnReference(path=file, **{key: "response"})
            assert from_column(study, reference, str(folder)).mean.tolist() == [number]
    (row,) = decide(study).to_pylist()
    assert float(row["decision"]) == row["mean"] == number


# --- What the product writes ---


@pytest.fixture(scope="module")
def some_crowd() -> Crowd:
    return make_known(make_study(tasks=1), loud=0.1).crowd


def crowd_on(some_crowd: Crowd, cases: list[Case], tasks: int = 2) -> Crowd:
    """The crowd with other scales and tasks; nothing is drawn from it."""
    kinds = spec_of(Path(), EVERY_SCALE["rating"], "")
    by_name = {f"s{i}": case.scale for i, case in enumerate(cases)}
    tidy = msgspec.structs.replace(kinds, scales=by_name).scales
    task_scale = np.arange(tasks * len(cases), dtype=np.int32) % len(cases)
    ids = tuple(f"{'Qq'[i % 2]}{i // 2}" for i in range(len(task_scale)))
    return dataclasses.replace(some_crowd, scales=tidy, task_scale=task_scale, task_ids=ids)


def drawn(crowd: Crowd, people: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    answers = np.empty((people, len(crowd.task_ids)), level_dtype(crowd.task_scales))
    for task, scale in enumerate(crowd.task_scales):
        k = scales.size(scale)
        answers[:, task] = random.integers(0, k, people) if k else random.uniform(-10, 30, people)
    return answers


def same_answer(case: Case, cell: object, answer: float) -> bool:
    """Whether a reader that knows nothing but the cell sees what the study writes."""
    if not case.codes:
        return np.float32(cell) == np.float32(answer)
    code = case.codes[int(answer)]
    if isinstance(cell, str):
        return cell == code
    return case.numbers is not None and float(cell) == case.numbers[int(answer)] == float(code)


def write_answers(crowd: Crowd, folder: Path, answers: np.ndarray, layout: str) -> None:
    """Write a population that answers so, instead of one that the crowd draws."""
    n = len(answers)
    profile = tuple(dataclasses.replace(a, cells=a.cells[:n]) for a in crowd.generator.attributes)
    with pytest.MonkeyPatch.context() as patch:
        block = Agents(np.arange(n), profile, answers)
        patch.setattr(output, "draw_blocks", lambda *_: (one for one in [block]))
        patch.setattr(output, "drawers", lambda _: None)
        write_population(crowd, folder, n, 0, layout=layout)


several = st.lists(leveled() | ballots() | st.just(CONTINUOUS), min_size=1, max_size=3)


@settings(max_examples=30)
@given(several, st.sampled_from(["long", "wide"]), st.integers(0, 99))
def test_a_population_read_back_is_what_was_drawn(new_folder, some_crowd, cases, layout, seed):
    crowd, folder = crowd_on(some_crowd, cases), new_folder()
    answers = drawn(crowd, 20, seed)
    write_answers(crowd, folder / "p", answers, layout)
    (read_back,) = open_population(folder / "p").blocks()
    np.testing.assert_array_equal(read_back, answers)
    table = pandas.read_parquet(folder / "p" / "part-00000.parquet")
    for task, name in enumerate(crowd.task_ids):
        cells = table[name] if layout == "wide" else table.decision[table.task_id == name]
        case = cases[crowd.task_scale[task]]
        for cell, answer in zip(cells, answers[:, task], strict=True):
            assert same_answer(case, cell, answer), (cell, answer, case)
    # And the file is a table of answers like anybody's.
    if layout == "long" and len(cases) == 1 and not scales.is_ballot(cases[0].scale):
        roles = ResponsesSpec(
            path="part-00000.parquet", participant="agent_id", task="task_id", response="decision"
        )
        study = read_study(
            StudySpec(responses=roles, scales=crowd.scales, folder=str(folder / "p"))
        )
        order = [crowd.task_ids.index(name) for name in study.tasks.ids]
        np.testing.assert_array_equal(study.answer.astype(answers.dtype), answers[:, order].ravel())


@settings(max_examples=30)
@given(several, st.integers(0, 99))
def test_counts_and_twins_say_what_the_study_writes(new_folder, some_crowd, cases, seed):
    crowd, folder = crowd_on(some_crowd, cases), new_folder()
    random = np.random.default_rng(seed)
    size = [scales.size(scale) or 200 for scale in crowd.task_scales]
    number = np.zeros((1, len(size), max(size)), np.int64)
    for task, k in enumerate(size):
        number[0, task, :k] = random.multinomial(1000, random.dirichlet(np.ones(k)))
    blank = np.zeros((1, len(size)))
    counts = Counts(None, ("",), np.array([1000]), number, blank, blank, crowd)
    write_counts(crowd, counts, folder / "c", 0)
    table = pandas.read_parquet(folder / "c" / "counts.parquet")
    decisions = decide(folder / "c").to_pylist()
    for task, name in enumerate(crowd.task_ids):
        case, task_rows = cases[crowd.task_scale[task]], table[table.task_id == name]
        assert task_rows["count"].tolist() == number[0, task, : size[task]].tolist()
        if case.codes:
            assert all(same_answer(case, cell, i) for i, cell in enumerate(task_rows.decision))
        if case.codes and not scales.is_ballot(case.scale):
            most = int(number[0, task].argmax())
            assert scale_text.parse(crowd.task_scales[task], decisions[task]["decision"]) == most
    answers = np.stack([drawn(crowd, 3, seed), drawn(crowd, 3, seed + 1)])
    nothing = np.zeros((2, 2))
    write_twins(crowd, Twins(("a", "b"), answers, nothing, nothing, np.ones(2)), folder / "t", {})
    table = pandas.read_parquet(folder / "t" / "twins.parquet")
    expected = answers.reshape(6, -1)
    for task, name in enumerate(crowd.task_ids):
        cells = table.decision[table.task_id == name]
        case = cases[crowd.task_scale[task]]
        assert all(map(same_answer, itertools.repeat(case), cells, expected[:, task]))


@settings(max_examples=30)
@given(leveled())
def test_the_decision_of_a_study_is_an_answer_of_it(new_folder, case):
    """Read back from the table that `aggregate` writes, by pandas."""
    folder = new_folder()
    k = len(case.codes)
    people = range(2 * k + 1)
    columns = {
        "participant": [f"p{i}" for i in people for _ in range(k)],
        "task": [f"t{t}" for _ in people for t in range(k)],
        # Task t is answered most often with level t.
        "response": [case.codes[t if i > k else (i + t) % k] for i in people for t in range(k)],
    }
    write_table(folder / "a.csv", columns)
    spec = spec_of(folder, case.scale, "a.csv")
    table = decide(read_study(spec))
    for name in ("d.csv", "d.parquet"):
        write_decisions(table, folder / name)
    as_text = pandas.read_csv(folder / "d.csv", dtype=str, keep_default_na=False)
    for decided in (as_text, pandas.read_parquet(folder / "d.parquet")):
        read = [scale_text.parse(spec.scales["s"], text) for text in decided.decision]
        assert read == [int(name[1:]) for name in decided.task_id]


# --- The same data ---

NAMES = ("José", "Zoë", "Ann Lee", "Bob", "Eve", "Ólafur", "Ida", "Max", "Noé", "Uwe", "Lea", "Kim")
PROJECTS = ("Café", "Park", "école", "Bike way", "Pool")
TOWNS = ("Köln", "São Paulo", "New York")


class Data(NamedTuple):
    """Levels that people gave to tasks, -1 where none, and people's towns."""

    case: Case
    levels: np.ndarray
    town: tuple[str, ...]


@st.composite
def data(draw) -> Data:
    case = draw(leveled() | ballots())
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, t, k = len(NAMES), len(PROJECTS), len(case.codes)
    rank = random.random((n, t)).argsort(1)
    match case.scale:
        case Approval():
            levels = ((random.random((n, t)) < 0.4) | (rank == 0)).astype(int)
        case KApproval(k=size):
            levels = (rank < size).astype(int)
        case Ranking(k=size):
            levels = np.maximum(size - rank, 0)
        case Points(budget=budget):
            levels = random.multinomial(budget, np.full(t, 1 / t), n)
        case _:
            levels = random.integers(0, k, (n, t))
            levels[random.random((n, t)) < 0.2] = -1
            levels[:, 0] = levels[:, 0].clip(0)
    # A task that nobody answers, or votes for, need not be in the table.
    assume((levels > (0 if scales.is_ballot(case.scale) else -1)).any(0).all())
    return Data(case, levels, tuple(random.choice(TOWNS, n)))


def write_data(meant: Data, folder: Path, random: np.random.Generator) -> StudySpec:
    """Write data in one of the ways there are."""
    three, parquet = random.random(2) < 0.5
    suffix = "parquet" if parquet else "csv"
    of_ballot = scales.is_ballot(meant.case.scale)
    # Projects of level 0 may be zeros, empty cells or left out, each in its place.
    empty = random.choice(["zeros", "gaps", "cells", "mixed"])
    spell = random.integers(0, 5)
    numeric = meant.case.numbers is not None and random.random() < 0.4

    def look(text: str) -> str:
        return disguised(text, int(random.integers(4)))

    rows = []
    for (person, task), level in np.ndenumerate(meant.levels):
        way = random.choice(["zeros", "gaps", "cells"]) if empty == "mixed" else empty
        if level < 0 or (of_ballot and level == 0 and way != "zeros"):
            if way == "gaps":
                continue
            text = None if numeric else random.choice(["", " "])
        elif numeric:
            text = meant.case.numbers[level]
        else:
            ways = spellings(meant.case, int(level))
            text = look(ways[(spell if spell < 4 else random.integers(99)) % len(ways)])
        rows.append((look(NAMES[person]), look(PROJECTS[task]), text, look(meant.town[person])))
    order = random.permutation(len(rows))
    columns = dict(
        zip(
            ("participant", "task", "response", "town"),
            map(list, zip(*(rows[i] for i in order), strict=True)),
            strict=True,
        )
    )

    def write(file: str, table: dict[str, list]) -> None:
        frame = {name: table[name] for name in random.permutation(list(table))}
        if parquet:
            pq.write_table(pa.table(frame), folder / file)
        else:
            write_table(
                folder / file,
                {n: ["" if c is None else str(c) for c in cells] for n, cells in frame.items()},
            )

    profile = {"town": "categorical"}
    people, tasks = ParticipantsSpec(profile=profile), TasksSpec()
    if three:
        columns.pop("town")
        names = random.permutation(len(NAMES))
        write(
            f"people.{suffix}",
            {"who": [look(NAMES[i]) for i in names], "town": [look(meant.town[i]) for i in names]},
        )
        write(f"tasks.{suffix}", {"task": [look(name) for name in random.permutation(PROJECTS)]})
        people = ParticipantsSpec(path=f"people.{suffix}", participant="who", profile=profile)
        tasks = TasksSpec(path=f"tasks.{suffix}")
    write(f"answers.{suffix}", columns)
    return spec_of(folder, meant.case.scale, f"answers.{suffix}", participants=people, tasks=tasks)


@given(data(), st.integers(0, 2**32 - 1))
def test_the_same_data_are_the_same_study(new_folder, meant, seed):
    random = np.random.default_rng(seed)
    one, other = (read_study(write_data(meant, new_folder(), random)) for _ in range(2))
    assert fingerprint(one) == fingerprint(other)
    # And it is what was meant: people and tasks by their names, levels by their numbers.
    levels = np.full(meant.levels.shape, -1)
    levels[
        [NAMES.index(one.participants.ids[p]) for p in one.person],
        [PROJECTS.index(one.tasks.ids[t]) for t in one.task],
    ] = one.answer
    np.testing.assert_array_equal(levels, meant.levels)


TINY = """\
split: {by: people, test: 0.25, validation: 0.2}
model: {kind: cvae, hidden: 4, latent: 2}
models: []
train: {epochs: 1, batch_size: 32}
population: {agents: 20, seed: 3}
"""
EXAMPLES = {
    "labels": Case(
        Ordinal(levels=("0 - nie", "5", "10 - immer"), labels=("nie", "öfter", "stets")),
        ("0 - nie", "5", "10 - immer"),
        (0.0, 5.0, 10.0),
    ),
    "ranks": Case(Ranking(k=2), ("0", "2", "1"), (0.0, 2.0, 1.0)),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_same_data_give_the_same_scores_to_the_last_digit(tmp_path, name):
    case, random = EXAMPLES[name], np.random.default_rng(0)
    rank = random.random((len(NAMES), len(PROJECTS))).argsort(1)
    levels = np.maximum(2 - rank, 0)
    meant = Data(case, levels, tuple(random.choice(TOWNS, len(NAMES))))
    scores = []
    for way in range(2):
        folder = tmp_path / str(way)
        folder.mkdir()
        tree = msgspec.to_builtins(write_data(meant, folder, random))
        text = msgspec.yaml.encode({"study": tree}).decode() + TINY
        (folder / "config.yaml").write_text(text)
        out = folder / "run"
        assert main(["run", str(folder / "config.yaml"), "--out", str(out), "--quiet"]) == 0
        scores.append((out / "scores.json").read_bytes())
    assert scores[0] == scores[1]


# --- Names that could be taken for others ---


def test_names_that_differ_by_case_or_are_used_twice(tmp_path, some_crowd):
    """Tasks q1 and Q1, a task called as an attribute, one called agent_id, in both layouts."""
    case = Case(Binary(levels=(1, 2)), ("1", "2"), (1.0, 2.0))
    crowd = crowd_on(some_crowd, [case])
    answers = drawn(crowd, 20, 0)

    def named(*ids: str) -> Crowd:
        return dataclasses.replace(crowd, task_ids=ids)

    for ids, layout in itertools.product([("q1", "Q1"), ("q", "q.1")], ["long", "wide"]):
        folder = tmp_path / f"{ids[1]}-{layout}"
        write_answers(named(*ids), folder, answers, layout)
        (read_back,) = open_population(folder).blocks()
        np.testing.assert_array_equal(read_back, answers)
    for layout in ("long", "wide"):
        write_answers(named("age", "city"), tmp_path / layout, answers, layout)
        (read_back,) = open_population(tmp_path / layout).blocks()
        np.testing.assert_array_equal(read_back, answers)
        people = pandas.read_parquet(tmp_path / layout / "agents-00000.parquet")
        assert people.columns.tolist() == ["agent_id", "age", "city"]
    write_answers(named("agent_id", "city"), tmp_path / "taken", answers, "long")
    (read_back,) = open_population(tmp_path / "taken").blocks()
    np.testing.assert_array_equal(read_back, answers)
    with pytest.raises(CrowdError, match=r"'agent_id', the name of the first column .* long one"):
        write_answers(named("agent_id", "city"), tmp_path / "no", answers, "wide")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("word", ["true", "False", "null", "2020-01-01"])
def test_words_that_yaml_takes_for_more_are_told(tmp_path, word):
    folder = tmp_path
    other = "no" if word != "null" else "1"
    text = (
        "folder: {}\nresponses: {{path: a.csv}}\nscales: {{s: {{kind: nominal, "
        "levels: [{}, {}]}}}}\n"
    )
    (folder / "a.csv").write_text(f"participant,task,response\na,q,{word}\nb,q,{other}\n")
    (folder / "s.yaml").write_text(text.format(folder, word, other))
    with pytest.raises(CrowdError, match=r"levels\[0\]: .* write it in quotes"):
        load_study(str(folder / "s.yaml"))
    (folder / "s.yaml").write_text(text.format(folder, f'"{word}"', other))
    assert load_study(str(folder / "s.yaml")).answer.tolist() == [0, 1]


def test_booleans_of_another_program_are_told_or_read(tmp_path):
    columns = {"participant": ["a", "b"], "task": ["q", "q"], "response": ["True", "False"]}
    write_table(tmp_path / "a.csv", columns)
    pq.write_table(pa.table(columns | {"response": [True, False]}), tmp_path / "a.parquet")
    coded, worded = Binary(), Binary(levels=("False", "True"))
    with pytest.raises(CrowdError, match=r'scales\.s: labels: \["False", "True"\]'):
        read_study(spec_of(tmp_path, coded, "a.csv"))
    for scale, file in ((worded, "a.csv"), (coded, "a.parquet")):
        assert read_study(spec_of(tmp_path, scale, file)).answer.tolist() == [1, 0]


def test_negative_levels_and_decimal_commas(tmp_path):
    scale = Ordinal(levels=(-1.5, -1, 0, 1, 1.5))
    for decimal in ",.":
        cells = [cell.replace(",", decimal) for cell in ("-1,5", "-1", "-0,0", "1", "1,50")]
        rows = "".join(f"{i};q;{cell}\n" for i, cell in enumerate(cells))
        (tmp_path / "a.csv").write_text("participant;task;response\n" + rows)
        spec = spec_of(tmp_path, scale, "a.csv", delimiter=";", decimal=decimal)
        assert read_study(spec).answer.tolist() == [0, 1, 2, 3, 4]
