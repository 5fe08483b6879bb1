"""Holding out answers: every person keeps a share, whoever else is there and however rows stand."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import EVERY_SCALE, make_study, rows_of, write_study, write_table

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.study.records import fingerprint
from crowdllm_jax.study.split import SplitConfig, folds_of, split_study, told_folds

STUDY = make_study(tasks=30, people=200, share=0.4)


@given(st.sampled_from([0.1, 0.35, 0.5, 0.8, 0.95]), st.integers(0, 5))
def test_a_share_of_each_persons_answers_is_known(known, seed):
    split = split_study(STUDY, SplitConfig(by="answers", known=known), seed)
    assert split.by == "answers"
    np.testing.assert_array_equal(split.train, ~split.test)
    assert not split.validation.any()
    count = np.bincount(STUDY.person)
    held = np.bincount(STUDY.person, split.test)
    assert (held < count).all()
    # Within one answer of the share, or all but one; rounding goes up and down by chance.
    exact = np.minimum((1 - known) * count, count - 1)
    assert (np.abs(held - exact) < 1).all()
    # 200 people, each rounded with a variance of 1/4 at most: a deviation of 7.1 answers at most;
    # where the last one is kept, fewer are held than 1 - known says.
    assert abs(held.sum() - exact.sum()) < 36


def test_four_fifths_are_known_by_default():
    one = split_study(STUDY, SplitConfig(by="answers"), 3)
    np.testing.assert_array_equal(
        one.test, split_study(STUDY, SplitConfig(by="answers", known=0.8), 3).test
    )
    assert folds_of(STUDY, SplitConfig(by="answers")) == 1
    assert (one.test != split_study(STUDY, SplitConfig(by="answers"), 4).test).any()


def cells(study, rows):
    """Whose answers to what."""
    return {
        (study.participants.ids[p], study.tasks.ids[t])
        for p, t in zip(study.person[rows], study.task[rows], strict=True)
    }


@pytest.mark.parametrize(("config", "fold"), [({"known": 0.6}, None), ({"folds": 3}, 1)])
def test_what_is_held_out_of_a_person_depends_on_nobody_else(config, fold):
    config = SplitConfig(by="answers", **config)
    whole = cells(STUDY, split_study(STUDY, config, 1, fold).test)
    shuffled = np.random.default_rng(0).permutation(len(STUDY.task))
    few = np.flatnonzero(STUDY.person % 3 == 0)
    for rows in (shuffled, few):
        study = dataclasses.replace(
            STUDY, person=STUDY.person[rows], task=STUDY.task[rows], answer=STUDY.answer[rows]
        )
        found = cells(study, split_study(study, config, 1, fold).test)
        assert found == whole & cells(STUDY, rows)
    # A study without the other people numbers those it has anew.
    ids = tuple(STUDY.participants.ids[::3])
    fewer = dataclasses.replace(STUDY.participants, ids=ids)
    study = dataclasses.replace(study, participants=fewer, person=study.person // 3)
    assert cells(study, split_study(study, config, 1, fold).test) == found


def test_folds_hold_out_every_answer_once():
    config = SplitConfig(by="answers", folds=4)
    # Two people give one answer each, which is known in every fold.
    keep = np.ones(len(STUDY.task), bool)
    for person in (0, 1):
        keep[np.flatnonzero(STUDY.person == person)[1:]] = False
    study = dataclasses.replace(
        STUDY, person=STUDY.person[keep], task=STUDY.task[keep], answer=STUDY.answer[keep]
    )
    parts = np.stack([split_study(study, config, 0, k).test for k in range(4)])
    count = np.bincount(study.person)
    np.testing.assert_array_equal(parts.sum(0), (count > 1)[study.person])
    by_fold = np.stack([np.bincount(study.person, part) for part in parts])
    assert (np.ptp(by_fold, axis=0) <= 1).all()
    # Nor do the first folds get more than the others: 200 remainders of 3 at most.
    assert np.ptp(parts.sum(1)) < 40
    assert not split_study(study, config, 0, "all").test.any()
    assert "answers once (but nobody's only one), in 4 folds" in told_folds(study, config)


def test_ballots_stay_whole_and_known():
    study = make_study(EVERY_SCALE, tasks=4)
    split = split_study(study, SplitConfig(by="answers", known=0.2), 0)
    names = list(study.scales)
    held = {names[index] for index in study.tasks.scale[study.task[split.test]]}
    assert held == set(names) - {"pick", "rank", "share"}
    with pytest.raises(CrowdError, match="holds out nothing"):
        split_study(make_study({"pick": EVERY_SCALE["pick"]}), SplitConfig(by="answers"), 0)


def test_the_first_answers_of_a_table_are_known(tmp_path):
    """Rows shuffled: each person's first three in the file are known, wherever the study sorts
    them."""
    columns = rows_of(make_study(tasks=8, people=12, share=0.7))
    random = np.random.default_rng(2)
    order = random.permutation(len(columns["task"]))
    columns = {name: [cells[i] for i in order] for name, cells in columns.items()}
    columns["response"][4] = ""  # no answer, so it is not among the first
    write_study(tmp_path)
    write_table(tmp_path / "responses.csv", columns)
    study = load_study(tmp_path / "study.yaml")
    split = split_study(study, SplitConfig(by="answers", first=3), 0)
    given = {}
    for who, what, said in zip(
        *(columns[n] for n in ("participant", "task", "response")), strict=True
    ):
        if said:
            given.setdefault(who, []).append(what)
    expected = {(who, what) for who, all_of in given.items() for what in all_of[3:]}
    assert cells(study, split.test) == expected
    turned = dataclasses.replace(study, row=-study.row)
    assert fingerprint(turned) == fingerprint(study)
    assert fingerprint(turned, ordered=True) != fingerprint(study, ordered=True)
    with pytest.raises(CrowdError, match="without a table"):
        split_study(STUDY, SplitConfig(by="answers", first=3), 0)


def test_settings_that_mean_nothing_are_refused():
    for config, says in (
        (SplitConfig(by="answers", test=0.2), "give split.known"),
        (SplitConfig(by="answers", fraction=0.5), "split.fraction: is of people"),
        (SplitConfig(by="answers", known=0.0), "not a share between"),
        (SplitConfig(by="answers", known=1.0), "not a share between"),
        (SplitConfig(by="people", known=0.8), "split.known: .* give split.test"),
        (SplitConfig(by="tasks", first=3), "split.first: .* give split.test"),
        (SplitConfig(by="answers", first=3, known=0.5), "known and first both say"),
        (SplitConfig(by="answers", first=3, column="told"), "first and column both say"),
        (SplitConfig(by="people", column="told"), "split.column: .* give split.test"),
        (SplitConfig(by="answers", column="told"), "read without a column 'told'"),
    ):
        with pytest.raises(CrowdError, match=says):
            split_study(STUDY, config, 0)
    for once in ({"known": 0.8}, {"first": 2}):
        with pytest.raises(CrowdError, match="give one of the two"):
            folds_of(STUDY, SplitConfig(by="answers", folds=3, **once))
    with pytest.raises(CrowdError, match="answers anybody gives"):
        folds_of(STUDY, SplitConfig(by="answers", folds=31))


def test_what_is_left_out_of_a_ballot_is_no_first_answer(tmp_path):
    """Two approvals of four projects stand in the table: with `first: 1`, one of them is known."""
    (tmp_path / "votes.csv").write_text(
        "voter,project,vote\n" + "".join(f"v{n},p{p},1\n" for n in range(6) for p in (3, 1))
    )
    (tmp_path / "study.yaml").write_text(
        f"name: votes\nfolder: {tmp_path}\n"
        "responses: {path: votes.csv, participant: voter, task: project, "
        "response: vote}\ntasks: {path: projects.csv, task: project}\n"
        "scales: {approve: {kind: approval}}\n"
    )
    (tmp_path / "projects.csv").write_text("project\np0\np1\np2\np3\n")
    study = load_study(tmp_path / "study.yaml")
    split = split_study(study, SplitConfig(by="answers", first=1), seed=0)
    told = ~split.test
    assert [study.tasks.ids[t] for t in study.task[told]] == ["p3"] * 6
    assert (study.answer[told] == 1).all()


def with_column(folder, told: list[str]):
    """A configuration whose split goes by a column of the answers."""
    columns = rows_of(make_study(tasks=4, people=6))
    path = write_study(folder)
    write_table(folder / "responses.csv", columns | {"told": told})
    (folder / "config.yaml").write_text(
        "study:\n"
        + "".join(f"  {line}\n" for line in path.read_text().splitlines())
        + "split: {by: answers, column: told}\n"
    )
    return load_config(folder / "config.yaml")


def test_a_column_says_which_answers_are_known(tmp_path):
    """Of everybody's four, in three spellings; one person's are all held out."""
    told = ["1", "TRUE", "0", "yes"] * 5 + ["no", "false", "0", "0"]
    config = with_column(tmp_path, told)
    study = load_study(config)
    split = split_study(study, config.split, 0)
    expected = np.array([text in ("0", "no", "false") for text in told])
    np.testing.assert_array_equal(split.test, expected[study.row])
    np.testing.assert_array_equal(split.train, ~split.test)
    assert fingerprint(study) != fingerprint(dataclasses.replace(study, known=~study.known))


@pytest.mark.parametrize(
    ("text", "says"), [("maybe", "'maybe' .row 3"), ("", "row 3, 5, 7 and 9 more")]
)
def test_a_column_must_say_it_of_every_answer(tmp_path, text, says):
    with pytest.raises(CrowdError, match=says):
        load_study(with_column(tmp_path, ["1", text] * 12))
