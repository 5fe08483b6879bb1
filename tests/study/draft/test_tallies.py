"""Tables of counts and averages, in which no row is a person, are told as what they are."""

from itertools import product

import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.make import study

COUNTS = [3 + 7 * i % 41 for i in range(30)]


def asked(frame: pd.DataFrame) -> str:
    with pytest.raises(CrowdError) as caught:
        study(frame)
    return str(caught.value)


@pytest.mark.parametrize(
    "answers",
    [
        ("Yes", "No"),
        ("agree", "disagree"),
        ("Strongly agree", "Agree", "Neutral", "Disagree", "Don't know"),
        ("nie", "selten", "manchmal", "oft"),
    ],
)
@pytest.mark.parametrize("rows", ["age", "city"])
def test_columns_that_are_called_after_answers_count_them(answers, rows):
    frame = pd.DataFrame({rows: [f"the {i}th" for i in range(12)]})
    for place, answer in enumerate(answers):
        frame[answer] = COUNTS[place : place + 12]
    assert f"holds shares of answers ({answers[0]}, {answers[1]}" in asked(frame)
    assert "to 1 question(s) alone, and nobody's own" in asked(frame)
    shares = frame.copy()
    shares[list(answers)] /= 100
    assert "seems to hold how many people" in asked(shares)


def test_answers_that_people_tick_are_counted_by_nobody():
    frame = pd.DataFrame({"name": [f"Ann {i}" for i in range(12)], "often": [0, 1] * 6})
    frame["rarely"], frame["never"] = 1 - frame.often, [0, 0, 1] * 4
    assert len(study(frame).participants.ids) == 12


def test_prices_of_named_people_are_answers():
    prices = {"id": range(100, 130), "poor": COUNTS, "fair": COUNTS[::-1], "good": COUNTS}
    assert len(study(pd.DataFrame(prices)).participants.ids) == 30
    for key in ("name", "email"):
        named = pd.DataFrame(prices).assign(id=[f"a{i}@b.org" for i in range(30)])
        assert len(study(named.rename(columns={"id": key})).participants.ids) == 30


@pytest.mark.parametrize("total", ["Total", "n", "count"])
@pytest.mark.parametrize("first", [True, False])
def test_a_total_of_places_or_texts_is_a_sum_of_counts(total, first):
    parts = pd.DataFrame({"Smith": COUNTS, "Jones": COUNTS[::-1]})
    sums = pd.DataFrame({total: parts.Smith + parts.Jones})
    rows = pd.DataFrame({"precinct": [f"P{i}" for i in range(30)]})
    frame = pd.concat([rows, *((sums, parts) if first else (parts, sums))], axis=1)
    assert "(Jones, Smith of each precinct)" in asked(frame).replace("Smith, Jones", "Jones, Smith")
    pupils = frame.rename(columns={"precinct": "student"})
    assert len(study(pupils).participants.ids) == 30
    tests = frame.rename(columns={"Smith": "q1", "Jones": "q2", "precinct": "comment"})
    assert len(study(tests).participants.ids) == 30


def test_votes_of_several_people_on_a_text_are_nobodys():
    """How many of three said what of each text, and what most of them said."""
    frame = pd.DataFrame({"count": [3] * 30, "hate": [i % 3 for i in range(30)]})
    frame["offensive"] = [(i // 3) % 2 for i in range(30)]
    frame["neither"] = 3 - frame.hate - frame.offensive
    frame["class"], frame["tweet"] = frame.hate % 2, [f"a text of number {i}" for i in range(30)]
    made = study(frame)
    assert made.toplines
    assert len(made.tasks.ids) == 30


def test_crossings_of_levels_that_all_come_once_are_counted():
    frame = pd.DataFrame(list(product("abc", "mf", range(5))), columns=["type", "sex", "grade"])
    frame["count11"], frame["count12"] = COUNTS, COUNTS[::-1]
    assert "(count11, count12 of each type, sex, grade)" in asked(frame)
    pattern = pd.DataFrame(list(product([0, 1], repeat=5)), columns=[f"Q{i}" for i in range(5)])
    assert "of each Q0, Q1, Q2, Q3" in asked(
        pattern.assign(one=[9, *COUNTS, 8], two=[8, *COUNTS, 9])
    )
    cases = pd.DataFrame(list(product(range(10), "mf")), columns=["GHQ", "sex"])
    assert "cases" in asked(cases.assign(cases=COUNTS[:20], others=COUNTS[5:25]))


def test_one_person_in_each_cell_of_a_design_is_a_person():
    design = list(product("ab", "xy", "mn"))
    frame = pd.DataFrame(design * 2, columns=["A", "B", "C"])
    frame["mood"] = [5, 11, 7, 9] * 4
    assert len(study(frame).participants.ids) == 16
    once = frame[:8].assign(id=[f"p{i}" for i in range(8)])
    assert len(study(once).participants.ids) == 8


def test_counts_of_who_does_what_are_no_answers():
    cells = list(product(["Laundry", "Meals", "Dinner"], ["Wife", "Husband", "Jointly"]))
    frame = pd.DataFrame(cells, columns=["Task", "Who"]).assign(Freq=COUNTS[:9])
    assert "seems to count people ('Freq' of each Task, Who)" in asked(frame)
    heard = pd.DataFrame(list(product(range(12), "abcd")), columns=["user", "song"])
    heard["count"] = [i % 7 for i in range(48)]
    assert len(study(heard).participants.ids) == 12


def test_ratings_with_decimals_beside_how_many_there_are_are_averages():
    frame = pd.DataFrame({"film": [f"F{i}" for i in range(30)], "num_votes": COUNTS})
    frame["rating"] = [round(4 + i % 13 / 7, 1) for i in range(30)]
    assert "holds averages of answers ('rating'" in asked(frame)


def test_shares_of_candidates_are_nobodys():
    frame = pd.DataFrame({"Candidate": list("ABCDE"), "Votes": [100, 200, 150, 30, 20]})
    assert "holds shares of answers" in asked(frame.assign(Percent=[20.0, 40, 30, 6, 4]))


@pytest.mark.parametrize("name", ["precinct", "County", "Wahlkreis"])
def test_places_with_numbers_of_votes_or_inhabitants_are_nobody(name):
    frame = pd.DataFrame({name: [f"P{i}" for i in range(30)], "Smith": COUNTS})
    frame["Jones"] = [n * n % 97 + 100 for n in COUNTS]
    assert f"each row is a {name}, and nobody's answers" in asked(frame)
    rated = frame.assign(Smith=[n % 5 + 1 for n in COUNTS])
    assert len(study(rated).participants.ids) == 30


def test_countries_in_several_years_are_nobody():
    rows = list(product([f"C{i}" for i in range(12)], range(2000, 2004)))
    panel = pd.DataFrame(rows, columns=["country", "year"]).assign(
        polity=[i % 7 for i in range(48)]
    )
    assert "each row is a country at one year, and nobody's answers (polity)" in asked(panel)
    people = pd.concat([panel, panel], ignore_index=True).assign(
        trust=[1 + i % 5 for i in range(96)]
    )
    assert len(study(people).participants.ids) == 96


@pytest.mark.parametrize("names", [("percent agree",), ("2020", "2021"), ("% yes", "Top 2", "n")])
def test_percentages_of_statements_are_nobodys(names):
    frame = pd.DataFrame({"statement": [f"I like number {i}" for i in range(30)]})
    for place, name in enumerate(names):
        frame[name] = [n + place for n in COUNTS]
    assert "seems to hold percentages" in asked(frame)
    rated = pd.DataFrame({"statement": frame.statement, "2020": [n % 5 for n in COUNTS]})
    assert len(study(rated).participants.ids) == 30
