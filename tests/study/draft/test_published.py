"""Tables of published shares are read in the forms that they are published in."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_file, draft_of_sheet, study
from crowdllm_jax.study.formats.frame import read_frame
from crowdllm_jax.study.load import load_study_file
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.statistics import level_shares

AGREE = ["Strongly agree", "Agree", "Disagree", "Strongly disagree", "Refused"]
TRUST = ["A great deal", "Some", "Not much", "None", "Refused"]
PERCENT = np.array(
    [
        [10, 40, 30, 15, 5],
        [25, 25, 20, 28, 2],
        [5, 15, 45, 34, 1],
        [44, 30, 10, 13, 3],
        [20, 20, 30, 30, 0],
        [61, 12, 12, 12, 3],
    ]
)
"""Of six questions, the last two of which have answers of their own."""
TEXTS = [f"Would you say that part {i} of life is good?" for i in range(6)]


def long() -> pd.DataFrame:
    rows = [
        (f"q{i}", TEXTS[i], option, PERCENT[i, j])
        for i in range(6)
        for j, option in enumerate(AGREE if i < 4 else TRUST)
    ]
    return pd.DataFrame(rows, columns=["question_id", "question", "option", "percent"])


def check(made: Study, tasks: int = 6) -> None:
    """The shares of those who answered come back, in the order of the words."""
    assert made.toplines
    assert len(made.tasks.ids) == tasks
    everything = np.ones(len(made.task), bool)
    for task, name in enumerate(made.tasks.text):
        own = PERCENT[TEXTS.index(name)][3::-1]
        found = level_shares(made, everything, int(made.tasks.scale[task]))
        np.testing.assert_allclose(found[task], own / own.sum(), atol=1e-4)


def refused(frame: pd.DataFrame, choices: Choices = Choices()) -> str:  # noqa: B008
    with pytest.raises(CrowdError) as caught:
        study(frame, choices=choices)
    return str(caught.value)


@pytest.mark.parametrize("unit", ["%", "percent", "fraction", "count", "star"])
def test_a_row_per_question_and_answer(unit):
    frame = long()
    if unit == "fraction":
        frame["percent"] /= 100
    elif unit == "%":
        frame["percent"] = frame.percent.astype(str) + "%"
    elif unit == "star":
        frame["percent"] = frame.percent.astype(str).replace("0", "*")
    elif unit == "count":
        frame = frame.rename(columns={"percent": "count"})
        frame["count"] *= 3
    made = study(frame)
    check(made)
    assert made.tasks.ids == tuple(f"q{i}" for i in range(6))
    assert {len(scale.levels) for scale in made.scales.values()} == {4}
    assert all(type(scale).__name__ == "Ordinal" for scale in made.scales.values())


def test_a_number_of_people_counts_as_such():
    made = study(long().assign(n=150))
    everything = np.bincount(made.task, made.participants.weight[made.person])
    np.testing.assert_allclose(everything, 1.5 * (100 - PERCENT[:, 4]))
    counted = study(long().assign(count=(long().percent * 1.2).round(1)))
    assert np.sum(counted.participants.weight) == pytest.approx(6 * 120)


@pytest.mark.parametrize("marks", ["text", "total", "base"])
def test_a_row_per_question_and_a_column_per_answer(marks):
    frame = pd.DataFrame(PERCENT[:4], columns=AGREE)
    frame.insert(0, "item", TEXTS[:4])
    if marks == "total":
        frame["Total"] = 100
        frame.insert(1, "NET agree", frame["Strongly agree"] + frame["Agree"])
        frame["Mean"] = [3.1, 2.8, 2.2, 4.0]
    elif marks == "base":
        frame["Base"] = 1023
    check(study(frame), 4)


def test_columns_of_many_sets_of_answers_are_blank_where_these_are_not_asked():
    wide = long().pivot(index="question", columns="option", values="percent").reset_index()
    check(study(wide))
    check(study(wide.fillna(0).drop(index=4)), 5)


def test_numbered_columns_of_answers_and_shares():
    frame = pd.DataFrame({"question": TEXTS})
    for j in range(5):
        frame[f"option_{j + 1}"] = [(AGREE if i < 4 else TRUST)[j] for i in range(6)]
        frame[f"share_{j + 1}"] = PERCENT[:, j] / 100
    check(study(frame))


@pytest.mark.parametrize("groups", [False, True])
def test_lists_of_answers_and_shares_in_cells(groups):
    shares = [[int(n) / 100 for n in row] for row in PERCENT]
    told = [f"defaultdict(<class 'list'>, {{'Spain': {s}, 'Peru': {s}}})" for s in shares]
    frame = pd.DataFrame({"question": TEXTS, "selections": told if groups else [*map(str, shares)]})
    made = study(frame.assign(options=[str(AGREE if i < 4 else TRUST) for i in range(6)]))
    check(made)
    assert [a.levels for a in made.participants.profile] == [("Peru", "Spain")] * groups


def test_a_row_per_answer_and_a_column_per_question():
    frame = pd.DataFrame(PERCENT[:4].T, columns=TEXTS[:4])
    frame.insert(0, "response", AGREE)
    check(study(frame), 4)


def test_a_question_stands_at_its_first_answer_or_above_its_answers(tmp_path):
    merged = long()
    merged["question"] = merged.question.where(~merged.question.duplicated(), None)
    check(study(merged.drop(columns="question_id")))
    rows = []
    for i, text in enumerate(TEXTS):
        rows += [f"{text},,"]
        rows += [
            f"{option},{PERCENT[i, j]},{PERCENT[i, j]}"
            for j, option in enumerate(AGREE if i < 4 else TRUST)
        ]
        rows += ["Unweighted base,90,60"]
    path = tmp_path / "tables.csv"
    path.write_text("\n".join([",Men,Women", *rows]) + "\n")
    made = draft_of_file(path)
    assert made.shares is not None
    assert {*made.shares.people} == {"90", "60"}
    assert list(made.profile) == ["gender"]
    assert [task.text for task in made.tasks] == TEXTS


def crossed(*groups: str) -> pd.DataFrame:
    frame = long().drop(columns="question_id")
    for group in groups:
        frame[group] = frame.percent
    return frame.drop(columns="percent")


def test_columns_of_groups_that_do_not_overlap_are_a_profile():
    made = study(crossed("Men", "Women"))
    (gender,) = made.participants.profile
    assert (gender.name, gender.levels) == ("gender", ("Men", "Women"))
    ages = study(crossed("Total", "18-34", "35-54", "55+"))
    assert ages.participants.profile[0].levels == ("18-34", "35-54", "55+")
    parted = study(crossed("Sex: Male", "Sex: Female"))
    assert parted.participants.profile[0].name == "Sex"
    check(made)


def test_of_groups_that_overlap_everybody_is_taken_or_some_are_to_be_said():
    frame = crossed("Total", "Men", "Women", "18-34", "35+")
    everybody = study(frame)
    assert not everybody.participants.profile
    check(everybody)
    chosen = study(frame, choices=Choices(profile=("Men", "Women")))
    assert chosen.participants.profile[0].levels == ("Men", "Women")
    assert "--profile Men,Women" in refused(frame.drop(columns="Total"))
    below = frame.melt(["question", "option"], var_name="group", value_name="percent")
    assert not study(below).participants.profile
    assert "in several ways, which overlap" in refused(below[below.group != "Total"])
    gender = below[below.group.isin(["Men", "Women"])]
    assert study(gender).participants.profile[0].levels == ("Men", "Women")


def test_what_is_not_published_is_no_answer():
    frame = pd.DataFrame({"item": list("abcd"), "Approve": [45, 50, 38, 60]})
    frame["Disapprove"] = [50, 46, 57, 37]
    made = study(frame)
    everything = np.ones(len(made.task), bool)
    np.testing.assert_allclose(level_shares(made, everything, 0)[0], [50 / 95, 45 / 95], atol=1e-6)


def test_questions_whose_shares_do_not_add_up_are_left_out():
    frame = long()
    frame.loc[frame.question_id == "q2", "percent"] = [60, 70, 80, 40, 1]
    draft = draft_of_sheet(read_frame(frame), Choices())
    assert [task.id for task in draft.tasks] == ["q0", "q1", "q3", "q4", "q5"]
    assert any("do not add up to a whole" in why and ": q2." in why for why in draft.reasons)


def test_an_order_that_words_do_not_tell_is_that_of_the_table_unless_it_was_sorted():
    words = ["Better than it is now", "Worse than it is now", "About the same as it is"]
    rows = [
        (f"q{i}", word, n) for i in range(3) for word, n in zip(words, [20, 50, 30], strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["question", "answer", "share"])
    (scale,) = study(frame).scales.values()
    assert list(scale.levels) == [words[0], words[2], words[1]]
    (scale,) = study(frame.sort_values(["question", "answer"])).scales.values()
    assert type(scale).__name__ == "Nominal"
    (scale,) = study(frame, order=words).scales.values()
    assert list(scale.levels) == words


def test_average_is_an_answer_where_shares_add_up_with_it():
    words = ["Above average", "Average", "Below average"]
    rows = [
        (f"q{i}", word, n) for i in range(3) for word, n in zip(words, [20, 50, 30], strict=True)
    ]
    (scale,) = study(pd.DataFrame(rows, columns=["question", "answer", "share"])).scales.values()
    assert {*scale.levels} == {*words}


def test_one_question_and_an_answer_with_two_shares_are_refused():
    assert "to 1 question(s) alone" in refused(long()[:5])
    twice = pd.concat([long(), long().assign(percent=[1, 2, 3, 4, 90] * 6)])
    assert "has two for one question (rows 2 and 32)" in refused(twice)


def test_totals_alone_are_answers():
    frame = pd.DataFrame({"statement": list("abcde"), "Total agree": range(45, 50)})
    frame["Total disagree"], frame["DK"] = range(50, 45, -1), 5
    (scale,) = study(frame).scales.values()
    assert list(scale.levels) == ["Total disagree", "Total agree"]


def test_a_table_of_frequencies_has_valid_percentages():
    rows = []
    for i in range(4):
        valid = [round(100 * n / (100 - PERCENT[i, 4]), 2) for n in PERCENT[i, :4]]
        rows += [(TEXTS[i], o, n, p) for o, n, p in zip(AGREE, PERCENT[i], valid, strict=False)]
        rows += [
            (TEXTS[i], "Total", 100 - PERCENT[i, 4], 100),
            (TEXTS[i], "System", PERCENT[i, 4], None),
        ]
    made = study(pd.DataFrame(rows, columns=["Question", "Value", "Percent", "Valid Percent"]))
    check(made, 4)
    assert {len(scale.levels) for scale in made.scales.values()} == {4}


def test_numbers_of_answers_and_of_questions_are_no_people():
    frame = long()
    frame.insert(1, "code", [1, 2, 3, 4, 9] * 6)
    check(study(frame))
    numbered = (
        long().assign(question_id=long().question_id.str[1:]).rename(columns={"question_id": "id"})
    )
    check(study(numbered))


def test_codes_with_labels_stand_for_answers(tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    frame = long()[:20].drop(columns="question_id")
    frame["option"] = frame.option.map({text: i for i, text in enumerate(AGREE)})
    labels = {"option": dict(enumerate(AGREE))}
    pyreadstat.write_sav(frame, tmp_path / "shares.sav", variable_value_labels=labels)
    draft = draft_of_file(tmp_path / "shares.sav")
    assert draft.shares is not None
    (scale,) = draft.scales.values()
    assert scale.labels == tuple(AGREE[:4])
    assert draft.shares.missing == ("4",)


def test_parties_are_no_questions():
    frame = pd.DataFrame({"party": list("abcde"), "Yes": range(45, 50), "No": range(55, 50, -1)})
    assert "to 1 question(s) alone" in refused(frame)


def test_how_many_agreed_with_each_comment_are_counts():
    frame = pd.DataFrame(
        {"comment_id": range(20), "agree": range(20, 40), "disagree": range(30, 50)}
    )
    made = study(frame.assign(**{"pass": range(5, 25)}))
    assert made.toplines
    assert len(made.tasks.ids) == 20


def test_polls_with_their_sample_size_are_of_one_question():
    polls = pd.DataFrame(
        {"pollster": list("abc") * 4, "date": [f"2024-{i + 1:02d}-01" for i in range(12)]}
    )
    polls["sample_size"], polls["dem"], polls["rep"] = (
        range(900, 912),
        range(40, 52),
        range(60, 48, -1),
    )
    assert "(dem, rep of each pollster, date) to 1 question(s) alone" in refused(polls)


def test_what_parts_shares_and_describes_nobody_is_refused():
    frame = (
        long()
        .drop(columns="question_id")
        .merge(
            pd.DataFrame(
                {"fieldwork": [f"2020-{1 + i % 12:02d}-{1 + i // 12:02d}" for i in range(50)]}
            ),
            how="cross",
        )
    )
    assert "'fieldwork' parts the shares of one question" in refused(frame)


def test_people_who_share_points_or_tick_are_people():
    frame = pd.DataFrame({"id": range(20), "price": [50, 30] * 10, "taste": [30, 30] * 10})
    frame["look"] = 100 - frame.price - frame.taste
    frame["looks"] = [f"I like number {i} best" for i in range(20)]
    assert len(study(frame).participants.ids) == 20
    talking = frame.drop(columns=["id", "looks"]).assign(comment=frame.looks)
    assert len(study(talking).participants.ids) == 20
    ticks = pd.DataFrame(
        {"comment": [f"so many words {i}" for i in range(12)], "never": [0, 1] * 6}
    )
    ticks["rarely"], ticks["often"] = 1 - ticks.never, 0
    assert not study(ticks.assign(often=[0, 0, 1] * 4)).toplines


def test_the_study_that_is_written_is_checked_and_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    long().to_csv("shares.csv", index=False)
    assert main(["init", "shares.csv", "--quiet"]) == 0
    assert not (tmp_path / "shares-people.csv").exists()
    assert main(["study", "check", "shares.yaml"]) == 0
    check(load_study_file(tmp_path / "shares.yaml"))
    assert "by: tasks" in (tmp_path / "shares.yaml").read_text()


def banner(path: Path, above: list[str], *, total: bool, head: int = 0, sign: str = "") -> Path:
    """A table with groups of people in two rows of headings (`above` the second)."""
    shares = np.stack([PERCENT, PERCENT[:, ::-1], PERCENT])[:, :, :4]
    shares[:, :, 3] += 100 - shares.sum(axis=2)
    first = ["", ""] if not head else [""]
    rows = [[*first, *(["Total"] if total else []), *above]]
    rows.append([*first, *([""] if total else []), "Men", "Women", "18-34", "35+"][: len(rows[0])])
    for i in range(6):
        told = [TEXTS[i], *[""] * (len(rows[0]) - 1)]
        rows += [told] if head else []
        for j, option in enumerate((AGREE if i < 4 else TRUST)[:4]):
            own = [f"{shares[k, i, j]}%{sign}" for k in (0, 1, 2, 0, 1)[1 - total :]]
            rows.append([*([] if head else [TEXTS[i] if j == 0 else ""]), option, *own])
    if head == 2:
        rows.insert(2, ["Unweighted base", *["1000"] * (len(rows[0]) - 1)])
    path.write_text("\n".join(",".join(f'"{cell}"' for cell in row) for row in rows) + "\n")
    return path


@pytest.mark.parametrize("head", [0, 1, 2])
@pytest.mark.parametrize("sign", ["", " B"])
@pytest.mark.parametrize(
    "above",
    [["Gender", "", "Age", ""], ["Gender", "Gender", "Age", "Age"]],
    ids=["merged", "again"],
)
def test_groups_above_their_levels_are_ways_of_grouping(above, sign, head, tmp_path):
    path = banner(tmp_path / "a.csv", above, total=True, sign=sign, head=head)
    made = study(path)
    assert made.toplines
    assert made.tasks.ids == tuple(TEXTS)
    assert not made.participants.profile
    gender, age = (study(path, profile=[name]) for name in ("Gender", "Age"))
    assert [own.name for own in gender.participants.profile] == ["Gender"]
    assert age.participants.profile[0].levels == ("18-34", "35+")
    assert len(gender.task) == len(age.task) == 2 * len(made.task)
    titled = tmp_path / "titled.csv"
    titled.write_text("Results of October,,,,,\n\n" + path.read_text())
    assert len(study(titled).task) == len(made.task)


def test_of_groups_above_their_levels_without_a_total_one_is_asked_for(tmp_path):
    path = banner(tmp_path / "a.csv", ["Gender", "", "Age", ""], total=False)
    with pytest.raises(CrowdError, match="--profile Gender"):
        study(path)
    assert study(path, profile=["Gender"]).toplines


def test_a_row_of_letters_below_the_groups_is_left_out(tmp_path):
    path = banner(tmp_path / "a.csv", ["Gender", "", "Age", ""], total=True)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], ",,,A,B,C,D", *lines[2:]]) + "\n")
    assert study(path).tasks.ids == tuple(TEXTS)


def test_one_grouping_alone_and_questions_with_answers_of_their_own(tmp_path):
    path = tmp_path / "a.csv"
    own = [
        ("Very", "Somewhat", "Not at all"),
        ("Always", "Sometimes", "Never"),
        ("Yes", "Maybe", "No"),
    ]
    rows = [
        f"{TEXTS[i] if j == 0 else ''},{option},{(50, 30, 20)[j]},{(10, 20, 70)[j]}"
        for i in range(3)
        for j, option in enumerate(own[i])
    ]
    path.write_text("\n".join([",,Age,", ",,18-34,35+", *rows]) + "\n")
    made = study(path)
    assert made.tasks.ids == tuple(TEXTS[:3])
    assert made.participants.profile[0].levels == ("18-34", "35+")


def test_a_first_person_is_no_row_of_headings(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"p{i},nice {i},good {i},{'ab'[i % 2]},{i % 5}" for i in range(30)]
    path.write_text("\n".join(["id,comment,comment,x,y", *rows]) + "\n")
    assert study(path).participants.ids[0] == "p0"


OWN = ("Which of these do you own? Select all that apply", {"Car": 70, "Boat": 8, "Don't know": 20})
READ = ("What do you read? (several answers possible)", {"Paper": 60, "Web": 70, "None": 10})


def with_several() -> pd.DataFrame:
    """The questions with two more, to which several answers may be given."""
    rows = [(text, text, option, n) for text, own in (OWN, READ) for option, n in own.items()]
    more = pd.DataFrame(rows, columns=[*long().columns])
    return pd.concat([more, long()], ignore_index=True)


def chosen(made: Study) -> dict[str, float]:
    shares = level_shares(made, np.ones(len(made.task), bool), int(made.tasks.scale[0]))
    scale = [*made.scales][int(made.tasks.scale[0])]
    assert scale == "not_chosen_to_chosen"
    return {
        text: round(float(shares[task, 1]), 3)
        for task, text in enumerate(made.tasks.text)
        if text.endswith("]")
    }


@pytest.mark.parametrize("ids", [True, False])
def test_options_of_several_answers_are_chosen_or_not_of_those_who_answered(ids):
    frame = with_several() if ids else with_several().drop(columns="question_id")
    made = study(frame)
    assert len(made.tasks.ids) == 6 + 2 + 3
    assert chosen(made) == {
        f"{OWN[0]} [Car]": 0.875,
        f"{OWN[0]} [Boat]": 0.1,
        f"{READ[0]} [Paper]": 0.6,
        f"{READ[0]} [Web]": 0.7,
        f"{READ[0]} [None]": 0.1,
    }
    both = frame.rename(columns={"percent": "Men"})
    both["Women"] = both.Men
    assert chosen(study(both)) == chosen(made)


def test_several_answers_alone_are_shares_and_counts_of_them_tell_none():
    frame = with_several().iloc[:6]
    frame = pd.concat([frame, frame[:3].assign(question="Pets: check all that apply")])
    assert study(frame.drop(columns="question_id")).toplines
    counts = with_several().rename(columns={"percent": "count"})
    counts["count"] *= 7
    for frame in (counts, counts.assign(n=700)):
        draft = draft_of_sheet(read_frame(frame), Choices())
        assert len(draft.tasks) == 6
        assert any("several answers: left out" in reason for reason in draft.reasons)


def test_columns_called_after_years_are_when_people_were_asked():
    frame = long().drop(columns="question_id").rename(columns={"percent": "2020"})
    made = study(frame.assign(**{"2021": frame["2020"], "2022": frame["2020"]}))
    (year,) = made.participants.profile
    assert (year.name, year.levels) == ("year", ("2020", "2021", "2022"))
    check(made)
