"""Scales of codes with labels, as SPSS, Stata and a .qsf have them."""

import json

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.guess import Answered, Guess, guess
from crowdllm_jax.study.draft.make import study
from crowdllm_jax.study.draft.multiple import options_of, split
from crowdllm_jax.study.draft.names import seems_reversed
from crowdllm_jax.study.draft.people import profile_of
from crowdllm_jax.study.formats.sheet import Field, column_of
from crowdllm_jax.study.scales import Binary, Nominal, Ordinal


def scale(labels: dict[str, str], given: list[str], **more: object) -> object:
    question = Answered("q", tuple(given), (10,) * len(given), tuple(labels.items()), **more)
    found = guess(question, Choices())
    assert isinstance(found, Guess)
    return found.scale


def test_numbers_between_two_ends_that_have_names():
    ends = {"0": "No trust", "10": "Full trust", "88": "Don't know"}
    full = scale(ends, ["0", "3", "10", "88"])
    assert full == Ordinal(
        levels=tuple(range(11)),
        labels=("No trust", *map(str, range(1, 10)), "Full trust"),
    )
    named = ends | {str(i): str(i) for i in range(1, 10)}
    assert scale(dict(sorted(named.items(), key=lambda p: int(p[0]))), ["0", "10"]) == full


@pytest.mark.parametrize("between", [("2", "3", "4"), ("2 - Fair", "3 - Good", "4 - Very good")])
def test_a_number_beside_its_name_is_the_same_answer(between):
    named = ["1 - Poor", *between, "5 - Excellent"]
    frame = pd.DataFrame({"id": range(42), "q": [*named * 8, "5", "1"]})
    made = study(frame)
    assert made.scale_of(0).labels in ((), tuple(named))
    assert sorted(made.value) == sorted([*range(1, 6)] * 8 + [5, 1])


CODED = ("1. Car", "2. Bus", "3. Bike")


@pytest.mark.parametrize(
    "choices", [Choices(orders=(CODED,)), Choices(unordered=(CODED,))], ids=["order", "none"]
)
def test_a_number_beside_its_name_heeds_what_is_said_of_the_order(choices):
    frame = pd.DataFrame({"id": range(40), "q": [*CODED, "2"] * 10})
    with pytest.raises(CrowdError, match=r"--order '1\. Car,2\. Bus,3\. Bike'"):
        study(frame)
    made = study(frame, choices=choices)
    assert made.scale_of(0).levels == CODED
    assert np.bincount(made.answer.astype(int)).tolist() == [10, 20, 10]
    with pytest.raises(CrowdError, match=r"'2' is an answer beside '2\. Bus'"):
        study(frame, choices=Choices(orders=(CODED[::-1],)))


def test_a_number_beside_names_without_numbers_is_an_answer():
    texts = ("5 - Excellent", "Good", "Bad", "5")
    frame = pd.DataFrame({"id": range(40), "q": texts * 10})
    made = study(frame, choices=Choices(unordered=(texts,)))
    assert set(made.scale_of(0).levels) == set(texts)


def test_an_order_that_the_codes_have_and_the_labels_suggest():
    labels = {"1": "Very happy", "2": "Pretty happy", "3": "Not too happy", "9": "NA"}
    assert scale(labels, ["1", "2", "3", "9"]) == Ordinal(
        levels=(1, 2, 3), labels=("Very happy", "Pretty happy", "Not too happy")
    )


def test_labels_without_an_order():
    vote = {"1": "Yes", "2": "No", "3": "Not eligible"}
    assert isinstance(scale(vote, ["1", "2", "3"]), Nominal)
    assert isinstance(scale(vote, ["1", "2", "3"], ordered=True), Ordinal)
    assert scale({"1": "Favor", "2": "Oppose"}, ["1", "2"]) == Binary(
        levels=(1, 2), labels=("Favor", "Oppose")
    )


def test_a_code_that_the_file_declares_missing_is_no_level():
    labels = {"1": "Low", "2": "Medium", "3": "High", "7": "Refused to rate"}
    assert scale(labels, ["1", "2", "3", "7"], missing=frozenset({"7"})) == Ordinal(
        levels=(1, 2, 3), labels=("Low", "Medium", "High")
    )


def field(name: str, texts: list[str | None], **more: object) -> Field:
    from pathlib import Path

    return Field(name, column_of(Path("t.csv"), name, texts), **more)


def test_options_that_hold_the_sign_between_options():
    cells = ["Bus, Bike", "Car, shared", "Bike, Car, shared", "Bus", "Bike", "Bus, Car, shared"]
    several = field("use", cells)
    found = options_of(several)
    assert found == (", ", ["Bike", "Bus", "Car, shared"])
    car = split(several, *found)[2]
    assert [car.column.distinct[c] for c in car.column.codes] == list("011001")


@pytest.mark.parametrize(
    ("cells", "sign"),
    [
        (["a\nb", "a", "b\nc", "c", "b"], "\n"),
        (["['a', 'b']", "['a']", "['b', 'c']", "['c']"], ", "),
    ],
)
def test_options_on_lines_and_in_lists(cells, sign):
    several = field("use", cells)
    assert options_of(several) == (sign, ["a", "b", "c"])
    a = split(several, sign, ["a", "b", "c"])[0]
    assert [a.column.distinct[c] for c in a.column.codes] == [str(int("a" in c)) for c in cells]


def test_options_as_a_chinese_program_sets_them_apart():
    cells = ["网站", "电话┋门店", "门店", "网站┋门店", "网站┋电话", "电话"]
    assert options_of(field("q", cells)) == ("┋", sorted(["网站", "电话", "门店"]))


@pytest.mark.parametrize("sign", ["/", " + ", " & "])
def test_signs_within_answers_set_apart_what_is_also_given_alone(sign):
    cells = [sign.join(own) for own in ("a", "b", "c", "ab", "ac", "bc", "abc", "a", "bc")]
    assert options_of(field("use", cells)) == (sign.strip(), ["a", "b", "c"])
    for answers in (
        ["dark red", "dark blue", "light red", "light blue", "red", "blue"],
        ["New York", "New Jersey", "York Town", "New York Town"],
        ["1 2", "1 3", "1", "2", "3"],
    ):
        assert options_of(field("use", [answer.replace(" ", sign) for answer in answers])) is None


def test_compounds_are_no_several_answers():
    hues = ["blue", "green", "grey", "blue green", "green blue", "blue grey", "green grey"]
    assert options_of(field("hue", hues)) is None


def test_objects_are_no_options():
    held = [json.dumps({"calm": i % 4, "tense": i % 3}) for i in range(12)]
    assert options_of(field("response", held)) is None
    found = guess(Answered("response", tuple(held), (3,) * 12), Choices())
    assert found == "it holds objects in JSON, whose parts need columns of their own"


def test_numbers_between_commas_are_codes_of_options_if_they_ascend():
    cells = ["1,2,3", "1", "2,3", "3"]
    assert options_of(field("use", cells)) == (",", ["1", "2", "3"])
    assert options_of(field("use", [*cells, "3,2"])) is None
    assert options_of(field("use", ["1,5", "2,5", "3,5", "5"])) is None


def test_labels_of_a_few_numbers_do_not_make_an_age_categorical():
    ages = [str(18 + i) for i in range(40)] + ["89", "99"]
    labels = (("89", "89 or older"), ("98", "Don't know"), ("99", "No answer"))
    people = profile_of([field("age", ages, labels=labels)], np.arange(42), [])
    kind, cells = people["age"]
    assert kind == "numeric"
    assert cells[-2:] == ["89", ""]


@pytest.mark.parametrize(
    ("name", "codes", "kind"),
    [
        ("gender", "1 2 3", "categorical"),
        ("Region", " ".join(map(str, range(1, 17))), "categorical"),
        ("team", "1.0 2.0 3.0", "categorical"),
        ("education", "1.0 2.0 3.0", ("1", "2", "3")),
        ("School year", "7 8 9", ("7", "8", "9")),
        ("income", " ".join(map(str, range(1, 17))), "numeric"),
        ("gender", "low medium high", ("low", "medium", "high")),
    ],
)
def test_codes_of_what_has_no_order_are_categories(name, codes, kind):
    people = [*codes.split() * 3]
    found, cells = profile_of([field(name, people)], np.arange(len(people)), [])[name]
    assert kind == (found if isinstance(found, str) else found.levels)
    assert not any(cell.endswith(".0") for cell in cells)


def test_an_option_is_no_sign_of_a_reverse_keyed_question():
    assert not seems_reversed("lang [R]")
    assert all(map(seems_reversed, ["item_r", "sad (R)", "q7r", "calm.rev"]))


IDEOLOGY = ("Very liberal", "Liberal", "Moderate", "Conservative", "Very conservative")


@pytest.mark.parametrize(
    ("answers", "aside"),
    [
        ((*IDEOLOGY, "Not sure"), "Not sure"),
        ((*(f"{i}. {word}" for i, word in enumerate(IDEOLOGY, 1)), "6. Not sure"), "6. Not sure"),
        (("Yea", "Nay", "Present", "Not Voting"), "Not Voting"),
        (("Disagree", "Not sure", "Agree"), None),
        (("Strongly disagree", "Disagree", "Not sure", "Agree", "Strongly agree"), None),
        (("1. Never", "2. Rarely", "3. Not sure", "4. Often"), None),
        (("1. SPD", "2. CDU", "3. FDP", "4. Not sure"), None),
        (("Biden", "Trump", "Not voting"), None),
    ],
)
def test_answers_that_stand_aside_are_none(answers, aside):
    found = guess(Answered("q", answers, (10,) * len(answers)), Choices(unordered=(CANDIDATES,)))
    assert isinstance(found, Guess)
    assert found.dropped == ({aside} if aside else set())


CANDIDATES = ("1. SPD", "2. CDU", "3. FDP", "4. Not sure")


def test_who_is_not_sure_is_none_where_it_is_beside_others():
    approve = ("Strongly disapprove", "Disapprove", "Not sure", "Approve", "Strongly approve")
    words = {"sure": ("No", "Not sure", "Yes"), "approve": approve}
    beside = {"ideology": (*IDEOLOGY, "Not sure")}
    columns = {
        name: [own[i % len(own)] for i in range(60)] for name, own in (words | beside).items()
    }
    made = study(pd.DataFrame({"id": range(60), **columns}))
    scales = {task: made.scale_of(i) for i, task in enumerate(made.tasks.ids)}
    assert {*scales["ideology"].levels} == {*IDEOLOGY}
    # A middle stays one, whatever it is in other questions.
    assert scales["approve"].levels == approve
    assert scales["sure"].levels == words["sure"]


@pytest.mark.parametrize("degree", ["{} sure", "{}. {} sure", "{} - {} certain"])
def test_who_is_not_sure_when_asked_how_sure_is_the_lowest(degree):
    words = ("Not", "Slightly", "Fairly", "Very")
    levels = tuple(
        degree.format(*([i, word][-degree.count("{}") :])) for i, word in enumerate(words, 1)
    )
    frame = pd.DataFrame({"id": range(60), "How sure are you?": [levels[i % 4] for i in range(60)]})
    made = study(frame)
    assert made.scale_of(0).levels == levels
    assert len(made.answer) == 60


def test_who_is_not_sure_by_a_label():
    labels = {str(i): word for i, word in enumerate((*IDEOLOGY, "Not sure"), 1)}
    assert (
        scale(labels, ["1", "3", "6", "2"])
        == scale(labels, ["1", "3"])
        == Ordinal(levels=(1, 2, 3, 4, 5), labels=IDEOLOGY)
    )
