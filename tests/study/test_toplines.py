"""Published shares: rows are levels with weights, and nobody is known."""

import numpy as np
import pytest
from synthetic import write_table

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.held_out import held_out
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.load import load_study_file
from crowdllm_jax.study.split import Split, SplitConfig, split_study
from crowdllm_jax.study.statistics import level_shares, task_means
from crowdllm_jax.study.toplines import MOST_SURE

STUDY = """\
folder: {folder}
responses: {{path: shares.csv, response: option, share: share{more}}}
scales: {{agree: {{kind: ordinal, levels: ["no", maybe, "yes"]}}}}
{rest}"""
SHARES = {
    "task": ["a"] * 3 + ["b"] * 3,
    "option": ["no", "maybe", "yes"] * 2,
    "share": ["20", "30", "50", "70", "30", "0"],
}


def read(folder, table=SHARES, more: str = "", rest: str = ""):
    write_table(folder / "shares.csv", table)
    path = folder / "study.yaml"
    path.write_text(STUDY.format(folder=folder, more=more, rest=rest))
    return load_study_file(path)


@pytest.mark.parametrize("percent", [True, False])
def test_shares_come_back(tmp_path, percent):
    share = [text if percent else str(float(text) / 100) for text in SHARES["share"]]
    study = read(tmp_path, SHARES | {"share": share})
    assert study.toplines
    everything = np.ones(len(study.task), bool)
    found = level_shares(study, everything, 0)
    np.testing.assert_allclose(found, [[0.2, 0.3, 0.5], [0.7, 0.3, 0]], atol=1e-12)
    assert (np.bincount(study.person) == 1).all()
    assert (
        np.bincount(study.task, study.participants.weight[study.person]).tolist()
        == [pytest.approx(MOST_SURE)] * 2
    )


def test_groups_and_numbers_of_people(tmp_path):
    """Half as many people count half; more than a known number count no more."""
    table = {name: cells * 2 for name, cells in SHARES.items()}
    table["gender"] = ["f"] * 6 + ["m"] * 6
    table["people"] = ["80"] * 6 + ["5000"] * 6
    table["share"] = [*SHARES["share"], *SHARES["share"][::-1]]
    rest = "participants: {profile: {gender: categorical}}"
    study = read(tmp_path, table, ", n: people", rest)
    (gender,) = study.participants.profile
    female = (gender.cells == gender.levels.index("f"))[study.person]
    weight = study.participants.weight[study.person]
    assert np.bincount(study.task[female], weight[female]) == pytest.approx([80, 80])
    assert np.bincount(study.task[~female], weight[~female]) == pytest.approx([MOST_SURE] * 2)
    assert "560 people's answers, 200 of a question at most" in describe(study)
    np.testing.assert_allclose(level_shares(study, female, 0)[0], [0.2, 0.3, 0.5])
    np.testing.assert_allclose(level_shares(study, ~female, 0)[0], [0, 0.3, 0.7])


def test_a_level_that_is_missing_takes_its_share_along(tmp_path):
    table = SHARES | {"option": ["refused", "maybe", "yes", "no", "maybe", "yes"]}
    study = read(tmp_path, table, ", missing: [refused]")
    found = level_shares(study, np.ones(len(study.task), bool), 0)
    np.testing.assert_allclose(found[0], [0, 3 / 8, 5 / 8])


@pytest.mark.parametrize(
    ("table", "more", "rest", "message"),
    [
        (SHARES | {"share": ["20"] * 6}, "", "", r"row 2, 3, 4\) ?are of one task|sum to 60"),
        (SHARES | {"share": ["-1", *["20"] * 5]}, "", "", r"'-1' \(row 2\) is no share"),
        (SHARES | {"share": ["", *["20"] * 5]}, "", "", "row 2 has no share"),
        (SHARES | {"n": ["many"] * 6}, ", n: n", "", "'many' .* is no number of people"),
        (SHARES, "", "witnesses: w.csv", "study.witnesses: with responses.share"),
        (SHARES, "", "participants: {path: p.csv}", "study.participants.path: with resp"),
    ],
)
def test_what_is_refused(tmp_path, table, more, rest, message):
    with pytest.raises(CrowdError, match=message):
        read(tmp_path, table, more, rest)


def test_only_tasks_are_held_out(tmp_path):
    study = read(tmp_path)
    with pytest.raises(CrowdError, match=r"split.by: people needs people.*give by: tasks"):
        split_study(study, SplitConfig(by="people"), 0)
    held = split_study(study, SplitConfig(by="tasks", test=0.5, validation=0), 0).test
    assert len(np.unique(study.task[held])) == 1


def test_no_fraction_of_people_is_taken(tmp_path):
    with pytest.raises(CrowdError, match=r"split.fraction: 0.5 of the people.*leave it out"):
        split_study(read(tmp_path), SplitConfig(by="tasks", fraction=0.5), 0)


def test_rows_count_as_the_people_behind_them(tmp_path):
    """Of 200 people half of whom say no and half yes, 2 apart, two different people are 200 / 199
    apart on average, half of which is the ceiling; their mean counts 200. Persons, and two halves
    of them, there are none."""
    halves = {"task": ["a", "a"], "option": ["no", "yes"], "share": ["50", "50"]}
    study = read(tmp_path, halves)
    everything = np.ones(2, bool)
    assert task_means(study, everything)[2] == pytest.approx([MOST_SURE])
    humans = held_out(study, Split("tasks", ~everything, ~everything, everything))
    scores = {score.metric: score for score in score_humans(humans, 0)}
    assert scores["rps"].value == pytest.approx(0.5 * 200 / 199)
    for metric, why in (("icc", "say nothing of single people"), ("avg_wd", "two halves")):
        assert np.isnan(scores[metric].value)
        assert why in scores[metric].why
