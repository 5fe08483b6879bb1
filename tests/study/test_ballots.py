"""A ballot means the same, whether projects that are left out are written as 0 or not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from synthetic import EVERY_SCALE, RATING, make_study, rows_of, write_table

from crowdllm_jax.aggregate.decide import decide
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import ballots, scales
from crowdllm_jax.study.ballots import complete_ballots
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.read import read_answers, read_study
from crowdllm_jax.study.records import Study, fingerprint
from crowdllm_jax.study.scales import Approval
from crowdllm_jax.study.spec import ParticipantsSpec, ResponsesSpec, StudySpec, TasksSpec

BALLOTS = {name: scale for name, scale in EVERY_SCALE.items() if scales.is_ballot(scale)}


def read(folder: Path, rows: dict[str, list[str]], by_name: dict[str, scales.Scale]) -> Study:
    """Read a long table in which every task and person has a row in a table of its own."""
    write_table(folder / "answers.csv", {n: rows[n] for n in ("participant", "task", "response")})
    people = ParticipantsSpec(path="people.csv", profile={"city": "categorical"})
    return read_study(
        StudySpec(
            responses=ResponsesSpec(path="answers.csv"),
            scales=by_name,
            folder=str(folder),
            participants=people,
            tasks=TasksSpec(path="tasks.csv"),
        )
    )


@pytest.fixture
def tables(tmp_path) -> Path:
    """The tables of people and tasks that `make_study` has, and one person who never votes."""
    study = make_study({"rating": RATING})
    city = study.participants.profile[1]
    cities = [*(city.levels[cell] for cell in city.cells), "A"]
    write_table(
        tmp_path / "people.csv",
        {"participant": [*study.participants.ids, "silent"], "city": cities},
    )
    write_table(tmp_path / "tasks.csv", {"task": list(study.tasks.ids)})
    return tmp_path


def without(rows: dict[str, list[str]], seed: int, *, blank: float) -> dict[str, list[str]]:
    """Leave out the zeros of a table of ballots, some as empty cells and some as whole rows, but
    keep a row of everyone who gives nothing but zeros."""
    random = np.random.default_rng(seed)
    voter, answer = np.array(rows["participant"]), np.array(rows["response"], object)
    chose = np.isin(voter, voter[answer != "0"])
    first = np.unique(voter, return_index=True)[1]
    needed = np.isin(np.arange(len(voter)), first) & ~chose
    gone = (answer == "0") & ~needed
    blanked = gone & (random.random(len(gone)) < blank)
    answer[blanked] = ""
    kept = np.flatnonzero(~gone | blanked)
    assert gone.any()
    return {
        name: [str(column[i]) for i in kept]
        for name, column in (rows | {"response": answer.tolist()}).items()
    }


@pytest.mark.parametrize("blank", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", BALLOTS)
def test_gaps_and_zeros_are_the_same_study(tables, name, blank):
    scale = {name: BALLOTS[name]}
    rows = rows_of(make_study(scale))
    zeros = read(tables, rows, scale)
    gaps = read(tables, without(rows, 1, blank=blank), scale)
    assert fingerprint(gaps) == fingerprint(zeros)
    assert (zeros.left_out, zeros.missing, gaps.missing) == (0, 0, 0)
    assert gaps.left_out == len(zeros.task) - len(
        [a for a in without(rows, 1, blank=blank)["response"] if a]
    )
    # The same numbers follow, to the last bit.
    assert decide(gaps).to_pylist() == decide(zeros).to_pylist()
    assert f"{gaps.left_out:,} of the responses are projects that voters left out" in describe(gaps)
    assert "24 ballots; 1 cast none" in describe(gaps)


@pytest.mark.parametrize("name", BALLOTS)
def test_twins_are_made_of_whole_ballots(tables, name):
    scale = {name: BALLOTS[name]}
    rows = rows_of(make_study(scale))
    run = read(tables, rows, scale)
    found = []
    for some in (rows, without(rows, 2, blank=0.3)):
        write_table(tables / "new.csv", some)
        spec = StudySpec(
            responses=ResponsesSpec(path="new.csv"),
            scales=scale,
            folder=str(tables),
            participants=ParticipantsSpec(profile={"city": "categorical"}),
        )
        found.append(fingerprint(read_answers(spec, run.tasks)))
    assert found[0] == found[1]


def test_an_empty_ballot_is_none_and_one_of_zeros_is_one(tables):
    rows = {
        "participant": ["p000", "p000", "p001", "p001", "p002"],
        "task": ["t00", "t01", "t00", "t01", "t03"],
        "response": ["", "", "0", "", "1"],
    }
    study = read(tables, rows, {"vote": Approval()})
    assert np.bincount(study.person, minlength=4).tolist()[:4] == [0, 4, 4, 0]
    assert study.answer[study.person == 1].tolist() == [0, 0, 0, 0]
    assert study.answer[study.person == 2].tolist() == [0, 0, 0, 1]
    assert (study.missing, study.left_out) == (2, 6)


def test_answers_on_other_scales_stay_absent(tables):
    """Beside a ballot of two tasks, two ratings; leaving one of these out says nothing."""
    write_table(
        tables / "tasks.csv",
        {"task": ["t00", "t01", "t02", "t03"], "scale": ["vote", "vote", "rating", "rating"]},
    )
    rows = {
        "participant": ["p000", "p000", "p001"],
        "task": ["t01", "t02", "t03"],
        "response": ["1", "4", "2"],
    }
    write_table(tables / "answers.csv", rows)
    study = read_study(
        StudySpec(
            responses=ResponsesSpec(path="answers.csv"),
            scales={"vote": Approval(), "rating": RATING},
            folder=str(tables),
            participants=ParticipantsSpec(path="people.csv"),
            tasks=TasksSpec(path="tasks.csv", scale="scale"),
        )
    )
    answered = list(zip(study.person.tolist(), study.task.tolist(), study.value, strict=True))
    assert answered == [(0, 0, 0), (0, 1, 1), (0, 2, 4), (1, 3, 2)]


def test_a_study_made_in_code_is_completed_once():
    made = make_study({"approve": Approval()})
    chosen = np.flatnonzero(made.answer > 0)
    sparse = dataclasses.replace(
        made, person=made.person[chosen], task=made.task[chosen], answer=made.answer[chosen]
    )
    whole = complete_ballots(sparse, "here")
    voters = np.unique(sparse.person)
    np.testing.assert_array_equal(whole.person, np.repeat(voters, 4))
    np.testing.assert_array_equal(whole.answer, made.answer[np.isin(made.person, voters)])
    again = complete_ballots(whole, "here")
    assert fingerprint(again) == fingerprint(whole)
    assert again.left_out == whole.left_out == len(whole.task) - len(chosen)


def test_ballots_beyond_memory_are_refused(monkeypatch):
    monkeypatch.setattr(ballots, "MOST", 90)
    with pytest.raises(CrowdError, match=r"here: 24 ballots of 4 tasks on .* are 96 answers"):
        complete_ballots(make_study({"approve": Approval()}), "here")
