"""Tasks that only some people are asked: skipped is not missing, and a condition is checked."""

from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from routes import conditions, holds, names_in, text
from synthetic import make_study

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.population.read import answers_of
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.read import read_study
from crowdllm_jax.study.records import fingerprint, only_answers
from crowdllm_jax.study.routing import people_asked
from crowdllm_jax.study.scales import Approval
from crowdllm_jax.study.spec import StudySpec

ORDER = ("smokes", "a day", "quit")
"""In which they are asked: not that of their names."""
IDS = ("a day", "quit", "smokes")
ANSWERS = {"smokes": ("no", "yes"), "a day": (1, 2, 3), "quit": ("no", "maybe", "yes")}
PEOPLE = 12


def write_survey(folder, ask_if: dict[str, str], cells: dict[tuple[str, str], str], **tasks):
    """A study file of people with ages, all tasks, and the cells that are not empty."""
    people = [f"p{i:02d}" for i in range(PEOPLE)]
    write(
        folder / "people.csv",
        participant=people,
        age=["" if i == 0 else str(18 + 5 * i) for i in range(PEOPLE)],
        city=["AB"[i % 2] for i in range(PEOPLE)],
    )
    rows = [(p, t) for p in people for t in ORDER]
    write(
        folder / "responses.csv",
        participant=[p for p, _ in rows],
        task=[t for _, t in rows],
        response=[cells.get(row, "") for row in rows],
    )
    write(
        folder / "tasks.csv",
        task=list(ORDER),
        scale=["smokes", "number", "quit"],
        ask_if=[ask_if.get(t, "") for t in ORDER],
    )
    tree = {
        "folder": str(folder),
        "responses": {"path": "responses.csv"},
        "tasks": {"path": "tasks.csv", "scale": "scale", "ask_if": "ask_if", **tasks},
        "participants": {
            "path": "people.csv",
            "profile": {"age": "numeric", "city": "categorical"},
        },
        "scales": {
            "smokes": {"kind": "binary", "levels": ["no", "yes"]},
            "number": {"kind": "ordinal", "levels": [1, 2, 3], "labels": ["few", "some", "many"]},
            "quit": {"kind": "nominal", "levels": ["no", "maybe", "yes"]},
        },
    }
    return msgspec.convert(tree, StudySpec)


def write(path, **columns: list[str]) -> None:
    pyarrow.csv.write_csv(pa.table(columns), path)


def everything(answer=lambda person, task: ANSWERS[task][(person + len(task)) % 2]):
    return {(f"p{i:02d}", t): str(answer(i, t)) for i in range(PEOPLE) for t in ORDER}


@st.composite
def surveys(draw):
    """A condition of either later task, and who left which cell empty or said what."""
    ask_if = {}
    for place, task in enumerate(ORDER[1:], start=1):
        if draw(st.booleans()):
            before = ORDER[:place]
            ordered = {"age": (30, 50)} | ({"'a day'": (2, 3)} if "a day" in before else {})
            ask_if[task] = draw(conditions(ordered, {"city": ("A",), "smokes": ("no", "yes")}))
    level = draw(
        st.lists(st.integers(-1, 2), min_size=3 * PEOPLE, max_size=3 * PEOPLE).map(np.array)
    )
    return ask_if, level.reshape(PEOPLE, 3)


@given(surveys())
@settings(max_examples=25)
def test_a_skipped_question_is_never_missing(tmp_path_factory, survey):
    """Person by person: an empty cell is missing of who is asked, skipped of who is not; an answer
    of who is not asked counts for nothing; and whoever answered, of whom it is not known what
    decides, was asked."""
    ask_if, level = survey
    known_of = [{"age": None if i == 0 else 18 + 5 * i, "city": "AB"[i % 2]} for i in range(PEOPLE)]
    cells, answers, missing, skipped, asked = {}, {}, 0, 0, {t: [] for t in ask_if}
    for i, known in enumerate(known_of):
        not_asked = set()
        for column, task in enumerate(ORDER):
            options = ANSWERS[task]
            gave = None if level[i, column] < 0 else options[level[i, column] % len(options)]
            cells[f"p{i:02d}", task] = "" if gave is None else str(gave)
            is_asked = True
            if task in ask_if:
                on = {name.strip("'") for name in names_in(ask_if[task])}
                unknown = any(known[n] is None and n not in not_asked for n in on)
                values = known | {f"'{n}'": v for n, v in known.items()}
                is_asked = holds(ask_if[task], values) or (gave is not None and unknown)
                asked[task].append(is_asked)
            missing += gave is None and is_asked
            skipped += gave is None and not is_asked
            known[task] = gave if is_asked else None
            not_asked |= set() if is_asked else {task}
            if gave is not None and is_asked:
                answers[f"p{i:02d}", task] = gave
    assume(answers)
    spec = write_survey(
        tmp_path_factory.mktemp("survey"), {t: text(node) for t, node in ask_if.items()}, cells
    )
    given_of = {t: sum(cells[row] != "" for row in cells if row[1] == t) for t in ORDER}
    kept_of = {t: sum(row[1] == t for row in answers) for t in ORDER}
    assume(all(kept_of[t] or not given_of[t] for t in ORDER))
    outside = sum(given_of.values()) > len(answers)
    with pytest.warns(CrowdWarning, match="skipped") if outside else no_warning():
        study = read_study(spec)
    told = {
        (study.participants.ids[p], IDS[t]): study.scale_of(t).levels[int(a)]
        for p, t, a in zip(study.person, study.task, study.answer, strict=True)
    }
    assert told == answers
    assert (study.missing, study.skipped) == (missing, skipped)
    for task, who in people_asked(study).items():
        # Whose answer counts for nothing is still not asked.
        np.testing.assert_array_equal(who, asked[IDS[task]])


def no_warning():
    from contextlib import nullcontext

    return nullcontext()


def test_answers_to_what_was_skipped_are_told_and_count_for_nothing(tmp_path):
    """Row 3 is the second of the first person: those who do not smoke say how many a day."""
    spec = write_survey(tmp_path, {"a day": "smokes == 'yes'"}, everything())
    with pytest.warns(CrowdWarning) as caught:
        study = read_study(spec)
    told = str(caught[0].message)
    assert "column 'response': 6 answers (row 3, 9, 15 and 3 more) are to questions that" in told
    assert "(6 of 12 to a day)" in told
    assert len(study.task) == 3 * PEOPLE - 6
    assert (study.missing, study.skipped) == (0, 0)
    lines = describe(study)
    assert "asked if      a day: smokes == 'yes'; 6 of 12 people (50%), 6 of whom answered" in lines


def test_who_skips_a_question_skips_what_follows_from_it(tmp_path):
    """People who do not smoke, but say how many a day and that they try to quit: neither counts,
    as what decides on the last is known to be skipped. Whoever left the first out was asked all."""
    ask_if = {"a day": "smokes == 'yes'", "quit": "'a day' >= 2"}
    cells = everything(lambda person, task: {"smokes": "no", "a day": 3, "quit": "yes"}[task])
    cells |= {("p03", "smokes"): "", ("p04", "smokes"): "yes"}
    with pytest.warns(CrowdWarning, match="20 answers"):
        study = read_study(write_survey(tmp_path, ask_if, cells))
    asked = people_asked(study)
    for task in (0, 1):
        assert np.flatnonzero(asked[task]).tolist() == [3, 4]
        assert study.person[study.task == task].tolist() == [3, 4]
    assert (study.missing, study.skipped) == (1, 0)


def test_conditions_are_part_of_the_study(tmp_path):
    cells = everything(lambda person, task: ANSWERS[task][1])
    plain, routed = (
        read_study(write_survey(tmp_path, ask_if, cells))
        for ask_if in ({}, {"a day": "smokes == 'yes'"})
    )
    assert fingerprint(plain) != fingerprint(routed)
    assert routed.tasks.ask_if == {"a day": "smokes == 'yes'"}


@pytest.mark.parametrize(
    ("ask_if", "message"),
    [
        ({"a day": "quit == 'yes'"}, r"row 3 \('a day'\): .*'quit' is asked after it \(row 4\)"),
        ({"a day": "'a day' > 1"}, "'a day' is asked by the answer to 'a day', so none of them"),
        (
            {"a day": "quit == 'no'", "quit": "'a day' > 1"},
            "'a day' is asked by the answer to 'quit' is asked by the answer to 'a day'",
        ),
        ({"quit": "smoke == 'yes'"}, "no attribute and no task 'smoke'.*did you mean 'smokes'"),
        ({"quit": "'a dya' > 1"}, "no attribute and no task 'a dya'.*did you mean 'a day'"),
        ({"quit": "smokes == 'Yes'"}, "'Yes' is no answer to 'smokes'.*did you mean 'yes'"),
        ({"quit": "'a day' > 4"}, r"row 4 \('quit'\): .*'4' is no answer to 'a day'"),
        ({"quit": "city == 'C'"}, "nobody's city is 'C'; there are: A, B"),
        ({"quit": "age >="}, r"tasks.csv: column 'ask_if': row 4 \('quit'\): age >=: cannot be"),
        ({"quit": "age + 1"}, "'age \\+ 1' is no comparison"),
        ({"quit": "smokes is None"}, "none of the 12 people who answered 'quit' fulfils it"),
    ],
)
def test_a_condition_that_cannot_be_is_told(tmp_path, ask_if, message):
    with pytest.raises(CrowdError, match=message):
        read_study(write_survey(tmp_path, ask_if, everything()))


def test_answers_without_an_order_are_not_compared(tmp_path):
    spec = write_survey(tmp_path, {"a day": "quit > 'no'"}, everything())
    # Turned round, so that the nominal question is asked first.
    write(
        tmp_path / "tasks.csv",
        task=["quit", "smokes", "a day"],
        scale=["quit", "smokes", "number"],
        ask_if=["", "", "quit > 'no'"],
    )
    with pytest.raises(CrowdError, match="the answers to 'quit' have no order; list them"):
        read_study(spec)


def test_projects_of_a_ballot_are_asked_together(tmp_path):
    spec = write_survey(tmp_path, {"a day": "smokes == 'yes'"}, everything())
    scales = spec.scales | {"number": msgspec.convert({"kind": "approval"}, Approval)}
    ones = everything(lambda person, task: 1 if task == "a day" else ANSWERS[task][0])
    write_survey(tmp_path, {"a day": "smokes == 'yes'"}, ones)
    with pytest.raises(CrowdError, match="'a day' is one project of a ballot, which is asked as a"):
        read_study(msgspec.structs.replace(spec, scales=scales))


def test_without_a_table_of_tasks_order_is_that_of_conditions(tmp_path):
    """Columns of the responses: nothing stands above anything, but nothing waits for itself."""
    people = [f"p{i}" for i in range(6)]
    rows = [(p, t) for p in people for t in ("b", "a")]
    write(
        tmp_path / "long.csv",
        participant=[p for p, _ in rows],
        task=[t for _, t in rows],
        response=["1", "2"] * 6,
        when=["a >= 2" if t == "b" else "" for _, t in rows],
    )
    tree = {
        "folder": str(tmp_path),
        "responses": {"path": "long.csv"},
        "tasks": {"ask_if": "when"},
        "scales": {"it": {"kind": "ordinal", "levels": [1, 2, 3]}},
    }
    study = read_study(msgspec.convert(tree, StudySpec))
    assert study.tasks.ask_if == {"b": "a >= 2"}
    assert people_asked(study)[1].all()


def test_published_shares_tell_who_is_asked():
    """Who stands behind them answers one task: what they say to another is not known, but how many
    of those who were asked it say so."""
    study = make_study(people=200)
    study = only_answers(study, study.task == study.person % 4)
    conditions = {"t01": "t00 >= 2", "t02": "age >= 30", "t03": "t01 >= 3"}
    tasks = replace(study.tasks, ask_if=conditions)
    published = replace(study, tasks=tasks, toplines=True)
    assert list(people_asked(published)) == [2]
    asked = answers_of(published).asked
    of = {t: study.answer[study.task == t] for t in range(4)}
    assert asked[1] == pytest.approx((of[0] >= 1).mean())
    assert asked[3] == pytest.approx((of[0] >= 1).mean() * (of[1] >= 2).mean())
    age = study.participants.profile[0].cells
    assert asked[2] == pytest.approx((age[~np.isnan(age)] >= 30).mean())
    assert asked[0] == 1
    for condition in ("t00 >= 2 and t02 >= 2", "t00 is None", "t01 >= 3 and age > 30"):
        tasks = replace(study.tasks, ask_if={"t01": "t00 >= 2", "t03": condition})
        assert np.isnan(answers_of(replace(published, tasks=tasks)).asked[3])


CONDITIONS = (
    {"t01": "t00 >= 3"},
    {"t01": "t00 >= 3", "t02": "t01 >= 2", "t03": "not (t02 >= 4)"},
    {"t01": "t00 >= 3 and age >= 30"},
    {"t02": "t00 >= 3 or t01 < 3"},
    {"t01": "age >= 40", "t03": "t01 >= 2 and t00 < 5"},
)


@pytest.mark.parametrize("ask_if", CONDITIONS)
def test_missing_answers_do_not_make_fewer_asked(ask_if):
    """A third of 4,000 people's answers are left out: the share who are asked is what it was, to 4
    standard errors of a share of 1,000, which are left where two answers decide."""
    study = make_study(people=4000)
    study = replace(study, tasks=replace(study.tasks, ask_if=ask_if))
    everybody = people_asked(study)
    whole = answers_of(study).asked
    keep = np.random.default_rng(0).random(len(study.task)) < 2 / 3
    skipped_by = np.zeros(len(study.task), bool)
    for task, who in everybody.items():
        skipped_by |= (study.task == task) & ~who[study.person]
    some = answers_of(only_answers(study, keep & ~skipped_by)).asked
    for task, who in everybody.items():
        known = np.isfinite(study.participants.profile[0].cells)
        assert abs(whole[task] - who[known].mean()) < 0.002
        assert abs(some[task] - whole[task]) < 4 * 0.5 / np.sqrt(1000)
    # What is missing is itself what decides, where the condition says so.
    none = replace(study, tasks=replace(study.tasks, ask_if={"t01": "t00 is None"}))
    assert abs(answers_of(only_answers(none, keep)).asked[1] - 1 / 3) < 0.04
