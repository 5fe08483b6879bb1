"""What tables hold beside answers: sums below, options told twice, checks, codes of no answer."""

import json

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_sheet, study
from crowdllm_jax.study.formats.frame import read_frame
from crowdllm_jax.study.scales import Binary, Continuous, Nominal, Ordinal

N = 40
PEOPLE = [f"p{i}" for i in range(N)]


NONE = Choices()
MEDIA = ("radio", "tv", "net")


def cycle(*values: object) -> list[object]:
    return [values[i % len(values)] for i in range(N)]


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame({"id": PEOPLE, "good": cycle(1, 2, 3, 4, 5), **columns})


def scale_of(frame: pd.DataFrame, question: str, choices: Choices = Choices()):  # noqa: B008
    made = study(frame, choices=choices)
    return made.scale_of(made.tasks.ids.index(question))


def asked(frame: pd.DataFrame) -> str:
    with pytest.raises(CrowdError) as caught:
        study(frame)
    return str(caught.value)


def test_rows_that_sum_up_are_nobodys_answers():
    sums = pd.DataFrame({"id": ["Total", "Average"], "good": [120, 3.25]})
    frame = pd.concat([table(), sums], ignore_index=True)
    draft = draft_of_sheet(read_frame(frame), Choices())
    assert draft.people == tuple(PEOPLE)
    assert "rows that sum up the others: Total, Average" in " ".join(draft.reasons)
    assert scale_of(frame, "good") == Ordinal(levels=(1, 2, 3, 4, 5))


def test_a_row_of_texts_below_the_names_is_nobodys():
    frame = table(mood=cycle("low", "high")).astype(str)
    asked_of = {"id": "Respondent", "good": "How good is it?", "mood": "How is your mood?"}
    made = study(pd.concat([pd.DataFrame([asked_of]), frame]))
    assert made.tasks.text == ("How good is it?", "How is your mood?")
    assert len(made.participants.ids) == N
    # Somebody who typed a word for a number, and gave an answer that others give, too.
    typed = pd.concat([pd.DataFrame([{"id": "x", "good": "fine", "mood": "low"}]), frame])
    assert "40 of 41 answers are numbers, but not fine" in asked(typed)


@pytest.mark.parametrize(
    "first",
    [
        {"id": "test", "good": "test", "bad": "test"},
        {"id": "x", "good": "refused to say so", "bad": "don't know", "ugly": "all of it today"},
        {"id": "p99", "good": "would not say", "bad": "a few", "ugly": "something quite special"},
        {"id": "x", "good": "nothing", "bad": "all", "ugly": "some"},
    ],
)
def test_who_answers_first_in_words_is_somebody(first):
    frame = table(bad=cycle(1, 2, 3), ugly=cycle(4, 5, 6, 7)).astype(str)
    assert "answers are numbers, but not" in asked(pd.concat([pd.DataFrame([first]), frame]))


def test_how_many_there_are_stands_below_a_sum():
    frame = pd.concat([table(), pd.DataFrame({"id": ["Mean", "SD", "N"], "good": [3.2, 1.1, 40]})])
    draft = draft_of_sheet(read_frame(frame), Choices())
    assert draft.people == tuple(PEOPLE)
    alone = pd.DataFrame({"q": [*cycle("y")[1:], "n"], "good": cycle(1, 2, 3, 4)})
    assert len(study(alone).participants.ids) == N


@pytest.mark.parametrize("name", ["Class mean:", "Grand total"])
def test_sums_of_a_whole_class_are_nobodys_answers(name):
    below = pd.DataFrame({"id": [name, "* 1 means not at all"], "good": [3.2, None]})
    frame = pd.concat([table(bad=cycle(1, 2, 3)), below])
    draft = draft_of_sheet(read_frame(frame), Choices())
    assert draft.people == tuple(PEOPLE)
    assert "a remark stands alone: 1" in " ".join(draft.reasons)


def test_names_and_answers_below_are_no_remarks():
    called = [*PEOPLE[1:], "Anna Maria von Berg"]
    frame = pd.DataFrame({"id": called, "good": cycle(1, 2, 3), "bad": cycle(1, 2, 3, 4)})
    assert draft_of_sheet(read_frame(frame), Choices()).people == tuple(called)
    overall = table(place=[*cycle("hall", "yard")[1:], "overall"])
    assert len(study(overall).participants.ids) == N


@pytest.mark.parametrize("name", ["Answer key", "Points Possible"])
def test_the_key_of_a_test_is_nobodys_answers(name):
    test = {f"Q{i}": cycle(*"ABCD"[i:], *"ABCD"[:i]) for i in range(4)}
    draft = draft_of_sheet(read_frame(pd.DataFrame({"student": [name, *PEOPLE[1:]], **test})), NONE)
    assert draft.people == tuple(PEOPLE[1:])


def test_a_key_that_is_an_answer_or_an_id_of_somebody_stays():
    frame = pd.DataFrame({"asset": cycle("key", "lock"), "good": cycle(1, 2, 3)})
    assert len(study(frame).participants.ids) == N
    assert "Keys" in study(table(id=["Keys", *PEOPLE[1:]])).participants.ids


def test_units_below_the_names_are_nobodys_answers():
    frame = table(far=[f"{i * 7 % 50}" for i in range(N)], mood=cycle("low", "high")).astype(str)
    units = pd.DataFrame([{"id": None, "good": "1-5", "far": "cm", "mood": None}])
    made = study(pd.concat([units, frame]))
    assert {*made.participants.ids} == {*PEOPLE}
    assert {*made.tasks.ids} == {"good", "far", "mood"}
    # A row with an id is somebody's, and one with an answer that others give.
    for own in ({"id": "x"}, {"mood": "low"}):
        with pytest.raises(CrowdError):
            study(pd.concat([units.assign(**own), frame]))


def test_decimals_around_one_under_a_short_name_may_be_weights():
    ones = [0.5 + i / (N - 1) for i in range(N)]
    assert "is 'w1' a survey weight (its average is 1.00)?" in asked(table(w1=ones))
    assert study(table(w1=ones), choices=Choices(weight="w1")).participants.weight.min() > 0
    for name, numbers in (("w1", [1 + n for n in ones]), ("q1", ones), ("w2", cycle(0, 1, 2))):
        assert {*study(table(**{name: numbers})).tasks.ids} == {"good", name}


def test_weights_of_the_cooperative_election_study_are_known():
    ones = [0.5 + i / (N - 1) for i in range(N)]
    assert study(table(commonweight=ones)).tasks.ids == ("good",)


def test_a_question_is_not_asked_twice_where_options_stand_in_brackets():
    several = cycle("radio, tv", "radio", "tv, net")
    ticks = {f"media ({m})": [str(m in cell).lower() for cell in several] for m in MEDIA}
    assert {*study(table(media=several, **ticks)).tasks.ids} == {"good", *ticks}
    # What stands in brackets may say where, or what else was asked.
    others = {f"media ({m})": cycle(1, 2, 3) for m in ("home", "work")}
    assert len(study(table(media=several, **others)).tasks.ids) == 1 + 3 + 2


def test_somebody_called_max_stands_above_a_sum():
    above = table().assign(id=[*PEOPLE[1:], "Max"])
    frame = pd.concat([above, pd.DataFrame({"id": ["Total"], "good": [120]})])
    assert draft_of_sheet(read_frame(frame), Choices()).people[-1] == "Max"


def test_an_answer_that_is_called_after_a_sum_stays():
    frame = pd.DataFrame({"q": cycle("total", "part", "none"), "good": cycle(1, 2, 3, 4)})
    assert len(study(frame.iloc[:-3]).participants.ids) == N - 3


def test_a_question_whose_options_have_columns_is_not_asked_twice():
    several = cycle("radio tv", "radio", "tv net")
    ticks = {
        f"media/{m}": [int(m in cell.split()) for cell in several] for m in ("radio", "tv", "net")
    }
    made = study(table(media=several, **ticks))
    assert set(made.tasks.ids) == {"good", *ticks}


def test_objects_in_cells_have_a_column_per_key():
    taste = cycle("sweet", "sour", None)
    pages = [
        json.dumps({"Q0": i % 4, "taste": taste[i], "sure": i % 2 == 0, "rt": i + 0.5})
        if i
        else None
        for i in range(N)
    ]
    made = study(table(trial=pages))
    assert set(made.tasks.ids) == {"good", "trial.Q0", "trial.taste", "trial.sure"}
    answers = {
        task: dict(zip(made.person[rows].tolist(), made.value[rows].tolist(), strict=True))
        for i, task in enumerate(made.tasks.ids)
        for rows in [np.flatnonzero(made.task == i)]
    }
    who = {int(name[1:]): i for i, name in enumerate(made.participants.ids)}
    assert answers["trial.Q0"] == {who[i]: i % 4 for i in range(1, N)}
    assert answers["trial.sure"] == {who[i]: i % 2 == 0 for i in range(1, N)}
    assert len(answers["trial.taste"]) == sum(taste[i] is not None for i in range(1, N))
    nested = [json.dumps({"box": [i % 3, 2]}) for i in range(N)]
    assert study(table(page=nested)).tasks.ids == ("good",)


@pytest.mark.parametrize(
    "name",
    [
        *("Attention check: select 3", "Do you consent?", "I agree to take part", "TIME_SUM"),
        *("passed_check", "attn_check_2", "User Agent"),
        *("Time Taken to Complete (Seconds)", "qtime", "_submitted_by", "intro/enumerator"),
        *("trial.rt", "answer_time_ms", "Response time [s]", "rts3812", "_gps_precision"),
        *("location-Longitude", "location-Accuracy", "SubmitterName", "来源"),
        *("participant.payoff", "public_goods.2.player.id_in_group", "session.is_demo"),
    ],
)
def test_checks_and_what_programs_note_are_no_questions(name):
    assert study(table(**{name: cycle("yes", "no")})).tasks.ids == ("good",)


@pytest.mark.parametrize(
    "name",
    [
        *("Satisfaction with response time", "Travel time", "Do you use GPS?", "channels/email"),
        *("Rate the location: accuracy of maps", "Accuracy"),
        *("public_goods.2.player.contribution", "session.config.bonus", "payoff", "sort"),
    ],
)
def test_questions_that_are_called_alike_stay(name):
    assert {*study(table(**{name: cycle("yes", "no")})).tasks.ids} == {"good", name}


def test_last_codes_are_asked_for_together():
    frame = table(x=cycle(1, 2, 3, 4, 7, 8, 9), y=cycle(*range(11)))
    assert "'x': are 7, 8, 9 answers, or the codes of none" in asked(frame)
    assert "--missing 7,8,9" in asked(frame)


def test_codes_of_no_answer_are_answers_where_they_stand_amid_others():
    frame = table(x=cycle(1, 2, 3, 4, 7, 8, 9), y=cycle(*range(11)))
    choices = Choices(missing=("7", "8", "9"))
    assert scale_of(frame, "x", choices) == Ordinal(levels=(1, 2, 3, 4))
    made = study(frame, choices=choices)
    assert np.sum(made.task == made.tasks.ids.index("y")) == N


def test_few_raters_of_tasks_of_their_own_are_asked_for():
    frame = pd.DataFrame({"id": range(N), "label": cycle("a", "b", "c"), "rater": cycle("x", "y")})
    assert "column 'rater': its 2 ids come back in several of the 40 rows" in asked(frame)
    person = frame.rename(columns={"rater": "PID"})
    assert isinstance(scale_of(person, "label"), Nominal)


def test_amounts_are_numbers():
    paid = [f"${1000 + 25 * i:,}" for i in range(N)]
    share = [f"{2 * i} %" for i in range(N)]
    made = study(table(paid=paid, share=share))
    at = made.tasks.ids.index("paid")
    assert sorted(made.answer[made.task == at]) == [1000 + 25 * i for i in range(N)]
    assert scale_of(table(share=share), "share") == Continuous(low=0, high=100)
    mixed = table(x=cycle("$5", "6 €", "7"))
    assert not isinstance(scale_of(mixed, "x"), Continuous | Ordinal)


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        (["12,50 €", "3 €", "1.200,00 €"], [12.5, 3, 1200]),
        (["CHF 5", "CHF 7.50", "CHF 1'200"], [5, 7.5, 1200]),
        (["4/10", "5/10", "10/10"], [4, 5, 10]),
        (["1h", "2h", "11h"], [1, 2, 11]),
        (["30 Minuten", "5 Minuten", "45 Minuten"], [30, 5, 45]),
        (["3rd", "1st", "2nd"], [3, 1, 2]),
        (["3rd choice", "1st choice", "2nd choice"], [3, 1, 2]),
        (["'2", "'5", "'3", "4"], [2, 5, 3, 4]),
        (['="2"', '="5"', '="3"'], [2, 5, 3]),
        (["−2", "−1", "0", "1", "2"], [-2, -1, 0, 1, 2]),
        (["５", "３", "１０"], [5, 3, 10]),
        (["3,5", "2,0", "4"], [3.5, 2, 4]),
        (["4.5 out of 5 stars", "3.0 out of 5 stars", "1.0 out of 5 stars"], [4.5, 3, 1]),
        (["-", "0", "+", "++", "--"], [-2, -1, 0, 1, 2]),
        (["(2)", "(1)", "0", "1", "2"], [-2, -1, 0, 1, 2]),
        (["($5.50)", "$3.00", "$1,200.00", "$(0.25)"], [-5.5, 3, 1200, -0.25]),
        (["(12,50) €", "3,00 €", "0 €"], [-12.5, 3, 0]),
    ],
)
def test_numbers_as_they_are_written(written, numbers):
    made = study(table(x=cycle(*written)))
    own = made.task == made.tasks.ids.index("x")
    assert {*made.value[own]} == {*numbers}


@pytest.mark.parametrize("texts", [["(1)", "(2)", "(3)"], ["-2", "(1)", "3"]])
def test_brackets_around_all_numbers_or_beside_a_minus_are_kept(texts):
    assert scale_of(table(x=cycle(*texts)), "x") == Ordinal(levels=tuple(texts))


@pytest.mark.parametrize(
    "texts",
    [
        ["Choice 1", "Choice 2", "Choice 3"],
        ["'n roll", "'tis", "'twas"],
        ["1st", "2nd", "steerage"],
    ],
)
def test_signs_and_places_that_belong_to_words_are_kept(texts):
    made = study(table(x=cycle(*texts)), choices=Choices(unordered=(tuple(texts),)))
    assert made.scale_of(made.tasks.ids.index("x")) == Nominal(levels=tuple(sorted(texts)))


def test_amounts_that_are_written_in_several_ways_are_asked_for():
    assert "its amounts are written in several ways ($3, " in asked(
        table(wtp=cycle("$3", "4 dollars", "about $5", "2.5"))
    )
    plans = ("Basic ($5)", "Pro ($10)", "Team ($20)")
    assert scale_of(table(plan=cycle(*plans)), "plan") == Nominal(levels=plans)


def test_a_stray_text_among_amounts_is_asked_for():
    paid = [f"${i % 13}.50" for i in range(N)]
    paid[7] = "nothing"
    assert "39 of 40 answers are numbers, but not nothing" in asked(table(paid=paid))
    made = study(table(paid=paid), choices=Choices(missing=("nothing",)))
    assert made.scale_of(made.tasks.ids.index("paid")) == Continuous(low=0.5, high=12.5)


def test_amounts_are_used_as_their_names_say():
    minutes, phones = (
        [f"{start + i}{end}" for i in range(N)] for start, end in ((5, " min"), (612300600, ""))
    )
    phones = [f"{p[:3]} {p[3:6]} {p[6:]}" for p in phones]
    kilos = [f"{60 + i} kg" for i in range(N)]
    noted = {"duration": minutes, "phone": phones, "weight": kilos, "waited": minutes}
    assert study(table(**noted)).tasks.ids == ("good", "waited")
    earned = study(table(income=[f"${1000 + 25 * i:,}" for i in range(N)]))
    assert [a.name for a in earned.participants.profile] == ["income"]


def test_shares_are_known_by_their_names_with_a_sign():
    shares = {"option": ["yes", "no", "maybe"], "percent": ["45%", "35%", "20%"]}
    assert "holds shares of answers" in asked(pd.DataFrame({"q": ["a"] * 3, **shares}))


def test_tasks_keep_their_unit():
    levels = [f"{10 * j} dB" for j in range(1, 6)]
    random = np.random.default_rng(0)
    rows = [(p, level, random.integers(1, 6)) for p in PEOPLE for level in levels]
    made = study(pd.DataFrame(rows, columns=["listener", "level", "annoyance"]))
    assert set(made.tasks.ids) == {*levels}
    assert set(made.participants.ids) == {*PEOPLE}


@pytest.mark.parametrize(
    "prices", [("1.200 €", "3.500 €", "800 €"), ("EUR 1.459", "EUR 1.389", "EUR 1.502")]
)
def test_points_in_prices_that_may_be_between_thousands_are_asked_for(prices):
    frame = table(x=cycle(*prices))
    assert "'x': does the point in" in asked(frame)
    assert study(frame, choices=Choices(out=("x",))).tasks.ids == ("good",)


def test_points_in_prices_that_can_only_be_decimals_are_not_asked_for():
    made = study(table(x=cycle("1.20 €", "3.500 €", "800 €"), y=cycle("0.459 €", "1.389 €", "2 €")))
    assert {*made.value[made.task == made.tasks.ids.index("x")]} == {1.2, 3.5, 800}
    assert {*made.value[made.task == made.tasks.ids.index("y")]} == {0.459, 1.389, 2}


@pytest.mark.parametrize(
    "texts",
    [
        ["Q 1", "Q 2", "Q 3"],
        ["4/10", "5/12", "6/7"],
        ["1,2", "2,3", "1,3"],
        ["2,1", "1,2", "3,1"],
        ["1a", "2a", "3a"],
    ],
)
def test_what_is_no_number(texts):
    assert isinstance(scale_of(table(x=cycle(*texts)), "x"), Nominal | Binary)


def test_commas_are_told_column_by_column():
    paid = cycle("1,200", "15,000", "2,500", "950")
    made = study(table(x=cycle("3,5", "2,0", "4"), paid=paid))
    own = made.task == made.tasks.ids.index("paid")
    assert {*made.value[own]} == {1200, 15000, 2500, 950}


@pytest.mark.parametrize(
    "texts", [("0", "2-Jan", "Mär 05", "10+"), ("1", "2024-03-05T00:00:00", "6 or more")]
)
def test_dates_that_a_spreadsheet_made_of_bands_are_told(texts):
    message = asked(table(x=cycle(*texts)))
    assert f"'x': a spreadsheet seems to have made dates of its answers ({texts[1]}" in message


@pytest.mark.parametrize(
    "texts", [("1. No", "2. Maybe", "3. Yes"), ("1. Phone", "2. Mail", "3. TV")]
)
def test_words_that_begin_as_months_do_are_no_dates(texts):
    order = Choices(unordered=(texts,)) if "2. Mail" in texts else Choices()
    assert scale_of(table(x=cycle(*texts)), "x", order).levels == texts


def test_no_dates_are_told_where_the_user_says_that_answers_have_no_order():
    texts = ("0", "2-Jan", "10+")
    assert scale_of(table(x=cycle(*texts)), "x", Choices(unordered=(texts,))).levels == texts


def test_rooms_are_no_dates():
    assert isinstance(
        scale_of(table(x=cycle("1-room", "2-bath", "no flat", "a house")), "x"), Nominal
    )


def test_rows_that_repeat_the_names_of_columns_are_nobodys():
    frame = table(x=cycle("often", "never", "rarely")).astype(object)
    frame.loc[[3, 9]] = [frame.columns.tolist()] * 2
    draft = draft_of_sheet(read_frame(frame.astype(str)), Choices())
    assert len(draft.people) == N - 2
    assert "repeat the names of the columns: 2." in " ".join(draft.reasons)


def test_somebody_who_may_have_answered_twice_is_told():
    frame = table(mail=[f"a{min(i, 36)}@x.org" for i in range(N)]).drop(columns="id")
    told = " ".join(draft_of_sheet(read_frame(frame), Choices()).reasons)
    assert "in mail 1 stand in several rows, such as 'a36@x.org'" in told


def test_blank_rows_are_nobodys():
    frame = table(x=cycle(1, 2, 3)).astype(object)
    frame.loc[[3, 7, N - 1]] = None
    assert len(study(frame).participants.ids) == N - 3


def test_rows_are_named_by_their_places_in_the_file():
    blank = table(x=cycle(1, 2, 3)).astype(object)
    blank.loc[[3, 20]] = None
    twice = blank.copy()
    twice.loc[[10, 30], "id"] = "p25"
    assert "'p25' stands in row 12, 27, 32" in asked(twice)
    people = study(blank.drop(columns="id")).participants.ids
    assert set(people) == {str(row + 2) for row in range(N) if row not in (3, 20)}


def test_rows_of_answers_are_named_by_their_places_in_the_file():
    blank = rated().astype(object)
    blank.loc[[1, 4]] = None
    twice = pd.concat([blank, blank.iloc[[5]]], ignore_index=True)
    assert f"(rows 7 and {6 * N + 2}, 1 such pairs)" in asked(twice)
    other = twice.assign(mood=twice["rating"] % 3).drop(columns="rating")
    other["liked"] = [i * 5 % 7 for i in range(len(other))]
    other.loc[[1, 4]] = None
    assert f"'p0' answers 'f [mood]' twice (rows 7 and {6 * N + 2}, " in asked(other)


def test_faces_are_put_in_the_order_that_is_said():
    faces = ("🙁", "😐", "🙂", "😀")
    assert "'x': in which order" in asked(table(x=cycle(*faces)))
    assert scale_of(table(x=cycle(*faces)), "x", Choices(orders=(faces,))) == Ordinal(levels=faces)


def test_codes_of_no_answer_beside_a_wide_range():
    counts = [i if i % 8 else (-9, -7, 999)[i // 8 % 3] for i in range(N)]
    assert scale_of(table(x=counts), "x") == Continuous(low=1, high=39)
    signed = [10 * (i // 2) - 100 for i in range(N)]
    assert scale_of(table(x=signed), "x") == Continuous(low=-100, high=90)


def test_what_asks_for_a_text_is_no_choice_of_unknown_order():
    typed = cycle("none", "No", "Nothing", "More parking", "very good")
    assert study(table(**{"Any suggestions?": typed})).tasks.ids == ("good",)
    how = cycle("bus", "bike", "car")
    assert "Comment venez-vous ?" in study(table(**{"Comment venez-vous ?": how})).tasks.ids


def test_one_spelling_in_all_columns():
    frame = table(a=cycle("Agree", "Disagree"), b=cycle("AGREE", "DISAGREE", "Agree"))
    assert scale_of(frame, "a") == scale_of(frame, "b")


def test_questions_with_words_of_their_own_have_scales_of_their_own():
    asked_of = {"q1": ("bad", "ok", "good"), "q2": ("no", "yes"), "q3": tuple(range(11))}
    rows = [
        (p, q, words[i % len(words)]) for i, p in enumerate(PEOPLE) for q, words in asked_of.items()
    ]
    frame = pd.DataFrame(rows, columns=["participant", "question", "answer"]).astype(str)
    assert scale_of(frame, "q1") == Ordinal(levels=("bad", "ok", "good"))
    assert scale_of(frame, "q2") == Binary(levels=("no", "yes"))
    assert scale_of(frame, "q3") == Ordinal(levels=tuple(range(11)))


def test_numbers_that_no_two_tasks_share_are_one_range():
    random = np.random.default_rng(0)
    rows = [(p, t, round(random.uniform(0, 50), 6)) for p in PEOPLE for t in "abc"]
    frame = pd.DataFrame(rows, columns=["participant", "task", "rating"])
    assert len(study(frame).scales) == 1


def rated(**columns) -> pd.DataFrame:
    rows = [
        (p, m, 1 + (i + 2 * j) % 5) for i, p in enumerate(PEOPLE) for j, m in enumerate("abcdef")
    ]
    return pd.DataFrame(rows, columns=["user", "movie", "rating"]).assign(**columns)


def test_answers_of_nobody_are_asked_for():
    frame = rated().drop(columns="user").assign(First=cycle(*"xyz") * 6, Last=cycle(*"ab") * 6)
    assert "('rating') to what 'movie' says, but no column says whose; say it with --id" in asked(
        frame
    )
    assert len(study(frame, choices=Choices(out=("movie",))).participants.ids) == 6 * N


def test_a_column_that_tells_repeated_answers_apart_is_named():
    twice = pd.concat([rated(session=1), rated(session=2)], ignore_index=True)
    assert "'session' tells them apart: keep the rows of one of its values" in asked(twice)


def test_columns_side_by_side_that_only_say_yes_are_options():
    ticks = {"Cats": cycle("Yes", None), "Dogs": cycle("Yes", "Yes", None)}
    made = study(table(**ticks))
    assert set(made.tasks.ids) == {"good", "Cats", "Dogs"}
    assert np.sum(made.answer[made.task == made.tasks.ids.index("Cats")]) == N / 2


def test_ranges_that_are_nearly_alike_are_one_and_codes_none_of_them():
    random = np.random.default_rng(0)
    columns = {f"joke{j}": np.round(random.uniform(-10, 10, N), 2) for j in range(3)}
    for values in columns.values():
        values[::4] = 99
    made = study(table(**columns))
    ranges = [scale for scale in made.scales.values() if isinstance(scale, Continuous)]
    assert len(ranges) == 1
    assert (ranges[0].low >= -10, ranges[0].high <= 10) == (True, True)


def test_shares_of_answers_are_nobodys():
    rows = [
        (f"q{q}", option, (q * len(option) + ord(option[0])) % 97 / 97)
        for q in range(30)
        for option in ("low", "mid", "high")
    ]
    frame = pd.DataFrame(rows, columns=["task", "option", "share"])
    assert "holds shares of answers ('share' of each 'option')" in asked(frame)


def test_shares_are_known_by_their_names():
    frame = pd.DataFrame({"q": ["a", "a"], "option": ["yes", "no"], "percent": [45, 55]})
    assert "holds shares of answers ('percent' of each 'option')" in asked(frame)
    assert len(study(table(option=cycle("yes", "no"), count=cycle(1, 2, 3))).tasks.ids) == 3


@pytest.mark.parametrize(
    ("option", "share"), [("level", "n_children"), ("category", "frequency"), ("level", "count")]
)
def test_people_with_options_and_counts_are_no_shares(option, share):
    frame = table(**{option: cycle("BA", "MA", "PhD"), share: cycle(0, 1, 2, 3)})
    assert len(study(frame.drop(columns="id")).participants.ids) == N


def test_shares_of_numbered_questions():
    frame = pd.DataFrame({"question": [1, 1, 2, 2], "option": ["yes", "no"] * 2, "n": [4, 5, 3, 6]})
    message = asked(frame)
    assert "holds shares of answers ('n' of each 'option')" in message
    assert "--questions" in message


def test_percentages_of_groups_are_known_by_their_sums():
    asked_of = ["Q1"] * 3 + ["Q2"] * 4
    frame = pd.DataFrame({"Question": asked_of, "Response": list("abcdefg")})
    frame["All adults"] = [50, 30, 20, 10, 20, 30, 41]
    frame["Men"], frame["Women"] = [60, 30, 10, 25, 25, 25, 25], [40, 30, 30, 10, 10, 40, 40]
    assert "holds shares of answers ('All adults' of each 'Response')" in asked(frame)


def test_points_of_options_are_no_percentages():
    rows = [(option, 10 + 10 * i, f"q{q}") for q in range(15) for i, option in enumerate("ABCD")]
    frame = pd.DataFrame(rows, columns=["option", "score", "question"])
    frame["rank"] = np.random.default_rng(0).integers(1, 5, len(frame))
    assert len(study(frame).tasks.ids) == 15


def test_comments_of_which_nobody_says_who_agreed():
    frame = pd.DataFrame({"comment-id": range(N), "author-id": cycle(1, 2, 3)})
    frame["agrees"], frame["disagrees"] = cycle(3, 5, 9), cycle(1, 0, 2)
    assert "give the file of votes" in asked(frame)


def test_a_question_in_chinese_asks_who_people_are():
    made = study(
        table(**{"1、您的性别：": cycle("男", "女"), "2、您的看法": cycle("好", "差", "中")})
    )
    assert [attribute.name for attribute in made.participants.profile] == ["1、您的性别："]


def test_a_group_describes_people():
    made = study(table(Group=cycle("control", "treatment")))
    assert [a.name for a in made.participants.profile] == ["Group"]


def test_a_few_groups_under_a_name_of_people_are_no_ids():
    made = study(table(member=cycle("yes", "no"), expert=cycle("a", "b", "c")))
    assert made.tasks.ids == ("good",)
    assert {attribute.name for attribute in made.participants.profile} == {"member", "expert"}


def test_ids_are_known_by_what_they_hold_and_parties_are_none():
    white = [f"player{i % 15}" for i in range(N)]
    made = study(table(white=white, pid3=cycle("D", "R", "I"), stage=cycle("round1", "round2")))
    assert {*made.tasks.ids} == {"good", "pid3", "stage"}


def best_and_worst(best: str, worst: str) -> pd.DataFrame:
    """Two different items of each set of four."""
    sets = [
        np.random.default_rng(i).permutation(["cost", "size", "age", "noise"]) for i in range(N)
    ]
    return table(**{best: [one[0] for one in sets], worst: [one[1] for one in sets]})


@pytest.mark.parametrize("names", [("best", "worst"), ("Q3_most", "Q3_least")])
def test_the_best_and_the_worst_of_sets_are_no_task_yet(names):
    several = best_and_worst(*names).assign(id=[f"p{i // 2}" for i in range(N)])
    assert f"--leave-out {','.join(names)}; or take the best alone" in asked(several)
    again = best_and_worst(*(f"{name}_2" for name in names)).drop(columns=["id", "good"])
    first = best_and_worst(*(f"{name}_1" for name in names))
    assert "name all questions with --questions" in asked(pd.concat([first, again], axis=1))
    shown = pd.DataFrame({names[0]: cycle(1, 0, 0, 0), names[1]: cycle(0, 0, 1, 0)})
    marked = pd.concat([table(item=cycle("a", "b", "c", "d")), shown], axis=1)
    assert "(MaxDiff)" in asked(marked.drop(columns="id"))


def test_best_and_worst_in_one_column_are_no_answers_of_a_task():
    said = ["best", "", "", "worst"]
    rows = [
        (p, t, "ABCD"[(i + t) % 4], said[i]) for p in PEOPLE for t in range(3) for i in range(4)
    ]
    frame = pd.DataFrame(rows, columns=["respondent", "task", "item", "choice"])
    assert "(MaxDiff)" in asked(frame)
    assert "(MaxDiff)" in asked(frame.replace({"choice": {"": "neither"}}))


@pytest.mark.parametrize("names", [("best_day", "worst_day"), ("most_trusted", "least_trusted")])
def test_the_best_and_the_worst_that_everybody_is_asked_for_once_are_answers(names):
    assert {*study(best_and_worst(*names)).tasks.ids} == {"good", *names}
    marks = table(**{names[0]: cycle(1, 0, 0, 0), names[1]: cycle(0, 0, 1, 0)})
    assert {*study(marks).tasks.ids} == {"good", *names}


def test_best_and_worst_that_are_ratings_stay():
    frame = table(most_liked=cycle(3, 4, 5, 5), least_liked=cycle(3, 2, 1, 5))
    assert {*study(frame).tasks.ids} == {"good", "most_liked", "least_liked"}
    frame = best_and_worst("best friend", "best brand")
    assert len(study(frame).tasks.ids) == 3


def test_names_in_one_word():
    """A weight and ids; how heavy people are is an answer."""
    made = study(
        pd.DataFrame(
            {
                "good": cycle(1, 2, 3, 4),
                "Respondentnummer": PEOPLE,
                "teamweight": [0.5 + i / N for i in range(N)],
                "bodyweight": [60.5 + i for i in range(N)],
            }
        )
    )
    assert {*made.participants.ids} == {*PEOPLE}
    assert np.ptp(made.participants.weight) > 0
    assert {*made.tasks.ids} == {"good", "bodyweight"}


@pytest.mark.parametrize("name", ["goalweight", "dryweight", "priceweight"])
def test_how_heavy_things_are_is_no_weight_of_people(name):
    made = study(table(**{name: [60.5 + i for i in range(N)]}))
    assert name in made.tasks.ids


@pytest.mark.parametrize("name", ["Response Time", "answer_time", "Task duration"])
def test_how_people_found_a_response_time_is_an_answer(name):
    assert name in study(table(**{name: cycle("Poor", "Fair", "Good", "Excellent")})).tasks.ids


def test_amounts_and_doses_have_an_order_though_they_are_called_after_a_group():
    frame = table(
        state_population=[1000.5 * i for i in range(N)],
        treatment=cycle(0, 5, 10, 20),
        state=cycle(1, 2, 3),
    )
    kinds = {a.name: a.kind for a in study(frame).participants.profile}
    assert kinds.get("state") == "categorical"
    assert kinds.get("treatment") == "ordinal"
    assert kinds.get("state_population", "numeric") == "numeric"


def test_a_telephone_that_people_have_is_an_answer():
    frame = table(Phone=cycle("iPhone", "Android"), Telefon=[f"030 {i}" for i in range(N)])
    frame["browser"], frame["pid"] = cycle("Chrome", "Safari"), cycle(1, 2, 3)
    assert {*study(frame).tasks.ids} == {"good", "Phone"}


@pytest.mark.parametrize("silent", ["Haven't used it", "Have not tried this", "Did not watch it"])
def test_who_has_not_met_a_thing_does_not_rate_it(silent):
    frame = table(price=cycle("Poor", "Fair", "Good", "Very good", silent))
    assert scale_of(frame, "price").levels == ("Poor", "Fair", "Good", "Very good")
    known = ("Never used", "Used once", "Used more than once")
    assert scale_of(table(used=cycle(*known)), "used").levels == known
    # Where it is asked for, it is an answer.
    seen = cycle("Have not seen it", "Saw it once", "Saw a part")
    assert len(scale_of(table(seen=seen), "seen").levels) == 3


def test_numbers_and_as_many_words_are_asked_for():
    typed = cycle("2", "3", "40", "10", "four", "2 hours", "25", "6")
    told = asked(table(spent=typed))
    assert "answers are numbers, but not four, 2 hours" in told
    assert "if all are choices, --no-order" in told


@pytest.mark.parametrize(
    "answers",
    [
        ("Agree", "Disagree", "De acuerdo", "En desacuerdo"),
        ("Never", "Sometimes", "Always", "Nunca", "A veces", "Siempre"),
        ("zufrieden", "unzufrieden", "satisfied", "dissatisfied"),
    ],
)
def test_one_scale_in_two_languages_is_asked_for(answers):
    assert "in which order are its answers" in asked(table(said=cycle(*answers)))
