"""What witnesses say of people is read as evidence, whoever else they tell of."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import rows_of, write_study, write_table

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.load import load_study_file
from crowdllm_jax.study.records import fingerprint, only_people


@pytest.fixture
def folder(tmp_path):
    write_study(tmp_path)
    return tmp_path


def told(folder, rows: list[tuple[str, str, str]], entry: str = "said.csv"):
    """The study in a folder, with a witness's rows."""
    columns = zip(*rows, strict=True)
    table = dict(zip(("participant", "task", "response"), map(list, columns), strict=True))
    write_table(folder / "said.csv", table)
    path = folder / "study.yaml"
    path.write_text(f"{path.read_text()}witnesses: {entry}\n")
    return load_study_file(path)


def test_rows_in_any_order_of_known_people_and_tasks_alone(folder):
    rows = [("p003", "t02", "4"), ("p001", "t03", "2.5"), ("p001", "t00", "5")]
    study = told(folder, [*rows, ("nobody", "t00", "1"), ("p001", "t99", "1"), ("p002", "t00", "")])
    (witness,) = study.witnesses
    assert witness.name == "said"
    assert witness.person.tolist() == [1, 1, 3]
    assert witness.task.tolist() == [0, 3, 2]
    assert witness.value.tolist() == [5.0, 2.5, 4.0]


def test_some_people_keep_their_witnesses(folder):
    study = told(folder, [("p003", "t02", "4"), ("p001", "t03", "2.5"), ("p001", "t00", "5")])
    known = np.arange(len(study.task)) % 3 == 0
    kept = np.arange(len(study.participants.ids)) >= 2
    some, rows = only_people(replace(study, known=known), kept)
    (witness,) = some.witnesses
    assert [some.participants.ids[i] for i in witness.person] == ["p003"]
    assert (witness.task.tolist(), witness.value.tolist()) == ([2], [4.0])
    np.testing.assert_array_equal(some.known, known[rows])


def test_several_by_name(folder):
    entry = "{one: said.csv, other: said.csv}"
    study = told(folder, [("p001", "t00", "5")], entry)
    assert [witness.name for witness in study.witnesses] == ["one", "other"]


def test_a_study_is_known_by_its_witnesses_too(folder):
    study = told(folder, [("p001", "t00", "5"), ("p002", "t00", "4")])
    without = replace(study, witnesses=())
    (witness,) = study.witnesses
    changed = replace(study, witnesses=(replace(witness, value=witness.value[::-1]),))
    assert len({fingerprint(one) for one in (study, without, changed)}) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("p001", "t00", "6")], r"'6' \(row 2\) is no answer on scale 'rating'.*nor a number"),
        ([("p001", "t00", "well")], r"'well' \(row 2\) is no answer"),
        ([("x", "t00", "1")], "tells nothing of the study's participants and tasks"),
        ([("p001", "t00", "")], "no row about the study's people and tasks holds an answer"),
        (
            [("p001", "t00", "1"), ("p002", "t00", "3"), ("p001", "t00", "2")],
            r"answers task 't00' twice for participant 'p001' \(row 2, 4, 1 such pair",
        ),
        ([("", "t00", "1"), ("p001", "t00", "2")], "no id in row 2"),
    ],
)
def test_what_is_refused(folder, rows, message):
    with pytest.raises(CrowdError, match=message):
        told(folder, rows)


def test_a_file_that_is_not_there(folder):
    path = folder / "study.yaml"
    path.write_text(f"{path.read_text()}witnesses: {{gpt: nowhere.csv}}\n")
    with pytest.raises(CrowdError, match=r"nowhere.csv: no such file; study.witnesses.gpt"):
        load_study_file(path)


def test_ballots_are_refused(tmp_path):
    folder = tmp_path
    columns = rows_of_ballots()
    write_table(folder / "responses.csv", columns)
    (folder / "study.yaml").write_text(
        f"folder: {folder}\nresponses: {{path: responses.csv}}\n"
        "scales: {pick: {kind: k_approval, k: 1}}\n"
    )
    with pytest.raises(CrowdError, match="leave a ballot's tasks out of a witness's table"):
        told(folder, [("a", "t1", "1")])


def rows_of_ballots() -> dict[str, list[str]]:
    people, tasks = ["a", "a", "b", "b"], ["t1", "t2", "t1", "t2"]
    return {"participant": people, "task": tasks, "response": ["1", "0", "0", "1"]}


def test_values_are_those_of_the_responses(folder):
    """A witness that says what people said has their values."""
    study = load_study_file(folder / "study.yaml")
    columns = rows_of(study)
    rows = list(zip(columns["participant"], columns["task"], columns["response"], strict=True))
    mixed = np.random.default_rng(0).permutation(len(rows))
    (witness,) = told(folder, [rows[i] for i in mixed]).witnesses
    for name in ("person", "task", "value"):
        np.testing.assert_array_equal(getattr(witness, name), getattr(study, name))


def test_answers_to_reverse_keyed_tasks_are_mirrored_as_the_responses_are(folder):
    path = folder / "study.yaml"
    columns = rows_of(load_study_file(path))
    path.write_text(f"{path.read_text()}tasks: {{reverse: [t01, t03]}}\n")
    rows = list(zip(columns["participant"], columns["task"], columns["response"], strict=True))
    study = told(folder, rows)
    np.testing.assert_array_equal(study.witnesses[0].value, study.value)


def test_study_check_tells_how_much_a_witness_says(folder):
    """Of three rows one is what the person said, and one of a task that the study lacks."""
    study = load_study_file(folder / "study.yaml")
    own = {(p, t): v for p, t, v in zip(study.person, study.task, study.value, strict=True)}
    other = 1 if own[2, 0] > 3 else 5
    rows = [("p001", "t00", f"{own[1, 0]:g}"), ("p002", "t00", f"{other}"), ("p001", "x", "1")]
    line = next(line for line in describe(told(folder, rows)).splitlines() if "witness" in line)
    assert "said: 2 answers for 2 people to 1 questions, 2 of which they gave" in line
    assert line.endswith("50% are theirs")
