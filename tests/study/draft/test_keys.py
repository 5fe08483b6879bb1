"""Which columns are the ids of people and tasks, also where a row is a mistake."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft import crossed, profile_names
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_sheet, study
from crowdllm_jax.study.formats.frame import read_frame

PEOPLE, TASKS = 12, 6


def answers(**columns) -> pd.DataFrame:
    """A row per answer of 12 people to 6 tasks."""
    rows = [
        {"participant": f"p{i}", "item": f"t{j}", "rating": 1 + (i * 2 + j) % 5}
        for i in range(PEOPLE)
        for j in range(TASKS)
    ]
    return pd.DataFrame(rows).assign(**columns)


def asked(table: pd.DataFrame, choices: Choices = Choices()) -> str:  # noqa: B008
    with pytest.raises(CrowdError) as caught:
        study(table, choices=choices)
    return str(caught.value)


@pytest.mark.parametrize("more", [{}, {"b": 1, "c": 2, "score": 3}])
def test_one_row_twice_does_not_make_a_table_of_answers_wide(more):
    table = answers(**more)
    table.loc[1, "item"] = "t0"
    assert "'p0' answers 't0' twice (rows 2 and 3" in asked(table)


def test_missing_ids_do_not_make_a_table_of_answers_wide():
    for column in ("participant", "item"):
        table = answers()
        table.loc[[3, 3 + TASKS], column] = None
        told = asked(table)
        assert f"column '{column}'" in told
        assert "row 5, 11" in told


def test_a_column_left_out_is_no_key():
    table = answers(user=[f"u{i % 9}" for i in range(PEOPLE * TASKS)])
    made = study(table, choices=Choices(out=("user",)))
    assert len(made.participants.ids) == PEOPLE
    assert len(made.tasks.ids) == TASKS


def test_a_time_is_no_task():
    random = np.random.default_rng(0)
    table = answers(rt=random.permutation(900)[: PEOPLE * TASKS] // 2).drop(columns="item")
    table["rt"] += 100
    assert "'participant': its 12 ids come back" in asked(table)


def test_ids_that_come_back_are_no_question():
    table = pd.DataFrame({"id": np.repeat(range(12), 3), "wave": np.tile([1, 2, 3], 12)})
    table = table.assign(q1=[1 + i % 5 for i in range(36)], q2=[1 + i % 4 for i in range(36)])
    assert "its 12 ids come back in several of the 36 rows" in asked(table)
    made = study(table, choices=Choices(out=("id", "wave")))
    assert made.tasks.ids == ("q1", "q2")
    assert len(made.participants.ids) == 36
    few = study(table.assign(id=table["id"] % 5), choices=Choices(out=("wave",)))
    assert few.tasks.ids == ("q1", "q2")


def test_ids_that_are_left_out_number_people_by_their_rows():
    table = pd.DataFrame({"id": ["a", "a", *"bcdefgh"], "q": [1, 2, 3] * 3, "r": [1, 2, 2] * 3})
    assert "--leave-out 'id'" in asked(table)
    assert study(table, choices=Choices(out=("id",))).participants.ids[0] == "2"


def test_people_who_are_numbered_within_groups():
    table = pd.DataFrame({"country": np.repeat(["DE", "FR", "PL"], 20), "idno": [*range(20)] * 3})
    table = table.assign(**{f"q{j}": [1 + (i * j + i) % 5 for i in range(60)] for j in range(1, 6)})
    made = study(table)
    assert (len(made.participants.ids), made.participants.ids[20]) == (60, "FR 0")
    assert [attribute.name for attribute in made.participants.profile] == ["country"]
    assert "idno" not in made.tasks.ids
    waves = table.rename(columns={"country": "wave"})
    assert "its 20 ids come back in several of the 60 rows" in asked(waves)


@pytest.mark.parametrize(
    ("group", "member"),
    [
        *(("couple_id", "partner"), ("hhid", "person"), ("household", "member_no"), ("hh", "pno")),
        *(("hidp", "pno"), ("haushalt_id", "personennummer"), ("hhid", "memid")),
    ],
)
def test_people_of_couples_are_known_by_both(group, member):
    frame = pd.DataFrame({group: np.repeat(np.arange(30) + 100, 2), member: [1, 2] * 30})
    frame["sex"] = ["m", "f"] * 30
    frame["trust"] = np.random.default_rng(0).integers(1, 6, 60)
    made = study(frame)
    assert len(made.participants.ids) == 60
    assert made.tasks.ids == ("trust",)
    assert [attribute.name for attribute in made.participants.profile] == [member, "sex"]


@pytest.mark.parametrize(
    ("one", "other", "people", "tasks"),
    [
        *(("participant", "couple_id", 12, 5), ("coder", "dyad_id", 12, 5)),
        *(("family_id", "item", 12, 5), ("hhid", "scenario", 12, 5)),
        *(("household_id", "store", 60, 2), ("couple_id", "condition", 60, 2)),
    ],
)
def test_who_rated_couples_or_what_they_were_asked_are_no_members(one, other, people, tasks):
    frame = pd.DataFrame({one: np.repeat([f"r{i}" for i in range(12)], 5), other: [*"abcde"] * 12})
    random = np.random.default_rng(0)
    questions = ("ease", "calm") if people == 60 else ("rating",)
    frame[[*questions]] = random.integers(1, 6, (60, len(questions)))
    made = study(frame)
    assert "together" not in " ".join(draft_of_sheet(read_frame(frame), Choices()).reasons)
    assert len(made.participants.ids) == people
    assert len({*made.tasks.ids} - {other}) == tasks


@pytest.mark.parametrize(
    ("group", "member"), [("hhid", "pid"), ("household_id", "member_number"), ("hh", "person")]
)
def test_members_of_households_who_have_several_rows_are_people(group, member):
    rows = [(h, m, item) for h in range(20) for m in (1, 2) for item in "abcde"]
    frame = pd.DataFrame(rows, columns=[group, member, "item"])
    frame["rating"] = np.random.default_rng(0).integers(1, 6, len(rows))
    made = study(frame)
    assert len(made.participants.ids) == 40
    assert made.tasks.ids == tuple("abcde")
    assert [attribute.name for attribute in made.participants.profile] == [member]


def test_raters_of_pairs_of_things_are_no_members():
    rows = [(r, pair, side) for r in range(10) for pair in range(20) for side in "ab"]
    frame = pd.DataFrame(rows, columns=["participant", "pair_id", "item"])
    frame["item"] = frame.item + frame.pair_id.astype(str)
    frame["rating"] = np.random.default_rng(0).integers(1, 6, len(rows))
    assert len(study(frame).participants.ids) == 10


def test_what_is_done_to_people_one_after_another_makes_no_other_people():
    """People are numbered within schools, but a condition comes to each of them."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"participant": [*range(24)] * 3, "condition": np.repeat(["a", "b", "c"], 24)}
    )
    frame["effort"], frame["strain"] = random.integers(0, 21, (2, 72))
    assert "come back in several" in asked(frame)
    made = study(frame, task="condition")
    assert (len(made.participants.ids), len(made.tasks.ids)) == (24, 6)
    assert len(study(frame.rename(columns={"condition": "school"})).participants.ids) == 72


def test_importance_of_the_family_holds_no_ids():
    frame = pd.DataFrame({"respondent": range(60), "family": [i % 11 for i in range(60)]})
    assert study(frame).tasks.ids == ("family",)


def test_numbers_that_stand_for_several_people_make_no_tasks():
    """A survey of two countries with a question called as answers are (`vote`)."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"idno": [*range(60)] * 2, "cntry": ["DE"] * 60 + ["FR"] * 60})
    frame["vote"] = random.integers(1, 4, 120)
    frame["gndr"], frame["agea"] = random.integers(1, 3, 120), random.integers(18, 90, 120)
    made = study(frame)
    assert len(made.participants.ids) == 120
    assert made.tasks.ids == ("vote",)


def test_a_household_at_several_times_is_nobody_else():
    frame = pd.DataFrame({"household_id": np.repeat(np.arange(30) + 100, 2), "wave": [1, 2] * 30})
    frame["trust"] = np.random.default_rng(0).integers(1, 6, 60)
    draft = draft_of_sheet(read_frame(frame), Choices())
    assert "together" not in " ".join(draft.reasons)


def test_faces_have_an_age_and_a_gender():
    """As what is shown tells both, rows are no people of their own."""
    random = np.random.default_rng(0)
    face = random.permutation([*range(8)] * 3)
    frame = pd.DataFrame({"rater": np.repeat(range(6), 4), "face": face})
    frame["age"], frame["gender"] = 20 + face, np.array(["m", "f"])[face % 2]
    frame["rating"] = random.integers(1, 8, 24)
    frame = frame.drop_duplicates(["rater", "face"])
    assert len(study(frame).participants.ids) == 6


def test_a_column_that_is_different_in_every_row_settles_whose_rows_they_are():
    table = pd.DataFrame(
        {"member": [i // 2 for i in range(60)], "client": [i // 3 for i in range(60)]}
    )
    table = table.assign(respondent=range(60), q=[1 + i % 5 for i in range(60)])
    assert len(study(table).participants.ids) == 60


def test_one_person_alone_answers_tasks():
    table = answers()[:TASKS].assign(item=[f"t{j}" for j in range(TASKS)])
    made = study(table)
    assert (made.participants.ids, len(made.tasks.ids)) == (("p0",), TASKS)


def counting(function, calls: Counter):
    def counted(*given):
        calls[function.__name__] += 1
        return function(*given)

    return counted


def test_work_grows_with_columns_and_not_with_their_pairs(monkeypatch):
    cells = np.random.default_rng(0).integers(1, 6, (12, 200))
    frame = pd.DataFrame(cells, columns=[f"item{i}" for i in range(200)])
    looked = Counter()
    for module, name in ((crossed, "_pair"), (profile_names, "is_profile")):
        monkeypatch.setattr(module, name, counting(getattr(module, name), looked))
    assert len(study(frame).tasks.ids) == 200
    assert sum(looked.values()) < 10 * 200  # there are 19,900 pairs


@pytest.mark.parametrize("columns", [["label"], ["label", "sentiment"], ["sentiment"]])
def test_texts_that_nobody_is_known_to_have_labelled_are_asked_for(columns):
    frame = texts_with(**{name: ["hate", "ok", "ok"] * 10 for name in columns}).assign(id=range(30))
    assert "each row is a text ('text')" in asked(frame)
    told = Choices(out=("text",), unordered=(("hate", "ok"),))
    assert study(frame, choices=told).tasks.ids == tuple(columns)
    known = frame.assign(age=[20 + i for i in range(30)])
    assert len(study(known, choices=Choices(unordered=(("hate", "ok"),))).participants.ids) == 30


def texts_with(**columns) -> pd.DataFrame:
    return pd.DataFrame({"text": [f"the phone is fine, number {i}" for i in range(30)], **columns})


@pytest.mark.parametrize("columns", [["label", "q"], ["q1", "q2", "q3"]])
def test_a_text_that_a_survey_asks_for_stops_nothing(columns):
    numbers = {name: [1, 2, 3, 4, 5] * 6 for name in columns if name != "label"}
    frame = texts_with(**dict.fromkeys(columns, ["yes", "no"] * 15) | numbers)
    assert {*study(frame).tasks.ids} == {*columns}


def test_trials_of_several_kinds_are_told():
    frame = pd.DataFrame({"subject": np.repeat(range(12), 6)})
    frame["stimulus"] = [*["", "a.png", "b.png", "c.png", "d.png", "e.png"] * 12]
    frame["trial_type"] = ["survey-text", *["image-slider-response"] * 5] * 12
    frame["response"] = [1 + i % 7 for i in range(72)]
    assert "of which survey-text have no 'stimulus'; keep those" in asked(frame)


def test_what_is_another_in_each_task_says_nothing_of_new_ones():
    """A second id is no attribute of tasks; a kind of task is, and so is a number."""
    task = answers()["item"].str[1:].astype(int)
    table = answers(issue="v" + task.astype(str), kind=(task % 2).map({0: "a", 1: "b"}), words=task)
    table["text"] = "Should we build bridge number " + task.astype(str)
    made = study(table.drop(columns="item"))
    assert len(made.tasks.ids) == TASKS
    assert {attribute.name for attribute in made.tasks.attributes} == {"kind", "words"}


@pytest.mark.parametrize("key", ["rid", "uniqid", "idnr", "QKEY"])
def test_ids_of_rows_are_peoples_unless_rows_are_answers(key):
    table = answers(**{key: [f"{1000 + 7 * i}" for i in range(PEOPLE * TASKS)]})
    assert len(study(table).participants.ids) == PEOPLE
    wide = pd.DataFrame({key: table[key], "good": table.rating, "glad": [1, 2, 3] * 24})
    assert study(wide).participants.ids == tuple(sorted(table[key]))


def log(ratings: list[int], name: str = "rating") -> pd.DataFrame:
    """Books that each of 12 people rated, the ratings in turn."""
    table = answers().rename(columns={"rating": name})
    return table.assign(**{name: [ratings[i % len(ratings)] for i in range(len(table))]})


def test_zeros_of_who_did_not_rate_are_asked_for():
    table = log([0, 0, 0, 5, 7, 8, 9, 10, 6, 4, 1])
    assert "'rating': 29% are 0; is that an answer, or does it stand for none" in asked(table)
    for missing, low in (("0", 1), ("none", 0)):
        made = study(table, choices=Choices(missing=(missing,)))
        assert made.scale_of(0).levels[0] == low


@pytest.mark.parametrize(
    ("ratings", "name"),
    [
        ([0, 1, 2, 3, 4, 5, 5], "rating"),
        ([0, 0, 0, 1, 0, 2, 1], "rating"),
        ([0, 0, 0, 5, 7, 8, 9], "score"),
    ],
)
def test_zeros_that_stand_beside_others_are_answers(ratings, name):
    assert study(log(ratings, name)).scale_of(0).levels[0] == 0


def test_who_rates_by_the_name_is_no_case():
    table = pd.DataFrame(
        {
            "juror": np.repeat([f"j{i}" for i in range(PEOPLE)], TASKS),
            "case": np.tile([f"c{j}" for j in range(TASKS)], PEOPLE),
            "fair": [1 + i * 3 % 5 for i in range(PEOPLE * TASKS)],
            "strict": [1 + i * 2 % 5 for i in range(PEOPLE * TASKS)],
        }
    )
    assert len(study(table).participants.ids) == PEOPLE
    assert "which are the people's" in asked(table.rename(columns={"juror": "who"}))


@pytest.mark.parametrize(
    ("mean", "count"),
    [("Q1 mean", "Responses"), ("average_rating", "ratings_count"), ("Mittelwert", "n")],
)
def test_averages_of_people_are_nobodys_answers(mean, count):
    means = {mean: [1 + i % 7 / 2 for i in range(30)], count: [10 + i % 9 for i in range(30)]}
    table = pd.DataFrame({"Course": [f"c{i}" for i in range(30)], **means})
    assert f"holds averages of answers ('{mean}', of as many people as '{count}' says)" in asked(
        table
    )
    assert len(study(table, choices=Choices(questions=(mean,))).participants.ids) == 30
    # People's own averages, of as many trials, may be what they are known by.
    for key in ("id", "participant"):
        assert mean in study(table.rename(columns={"Course": key})).tasks.ids
    assert mean in study(table.drop(columns=count)).tasks.ids


def test_counts_of_people_who_are_alike_are_no_people():
    crossed_levels = [(s, e, v) for s in "fm" for e in ("low", "mid", "high") for v in "YN"]
    table = pd.DataFrame(crossed_levels, columns=["sex", "education", "vote"])
    counts = [3 + 7 * i % 11 for i in range(len(table))]
    for name in ("Freq", "count", "n", "Anzahl"):
        counted = table.assign(**{name: counts})
        told = f"seems to count people ('{name}' of each sex, education, vote)"
        assert told in asked(counted)
        assert told in asked(counted.assign(rownames=range(1, len(table) + 1)))
    # A few people may differ in all that is known of them, and somebody may have counted something.
    assert len(study(table.assign(visits=counts)).participants.ids) == len(table)
    repeated = table.loc[table.index.repeat(counts)].reset_index(drop=True)
    assert len(study(repeated.assign(n=1)).participants.ids) == sum(counts)


def test_a_condition_that_comes_and_goes_is_no_answer():
    table = answers(condition=["congruent", "incongruent", "congruent", "neutral"] * 18)
    made = study(table.rename(columns={"rating": "sure"}))
    assert {*made.tasks.ids} == {f"t{j}" for j in range(TASKS)}
    named = table.rename(columns={"rating": "sure", "condition": "mood"})
    assert "which column holds the answers: sure, mood" in asked(named)
