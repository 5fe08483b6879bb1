"""Letters and Roman numerals are in an order where they are grades, and only there."""

import itertools
import random

import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.grades import in_grades
from crowdllm_jax.study.draft.guess import Answered, Guess, guess
from crowdllm_jax.study.scales import Nominal, Ordinal


def guessed(name: str, levels: list[str], choices: Choices = Choices()) -> Guess:  # noqa: B008
    found = guess(Answered(name, tuple(levels), (10,) * len(levels)), choices)
    assert isinstance(found, Guess)
    return found


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("essay", "F|D-|C|B|B+|A-|A|A+"),
        ("essay", "F|D|C|B|A"),
        ("Math grade", "E|C|B|A"),
        ("Schulnote Deutsch", "D|C|A"),
        ("Mark", "D|C|A"),
        ("label", "C|B|A|A+|A++"),
        ("Course evaluation", "D|C|B|A"),
        ("severity", "I|II|III|IV|V"),
        ("stage", "I|II|III"),
    ],
)
def test_grades_from_the_worst_on(name, levels):
    order = levels.split("|")
    for seed in range(4):
        mixed = random.Random(seed).sample(order, len(order))
        found = guessed(name, mixed)
        assert found.scale == Ordinal(levels=tuple(order))
        assert "--order says otherwise" in found.why
    turned = tuple(order[::-1])
    assert guessed(name, mixed, Choices(orders=(turned,))).scale == Ordinal(levels=turned)
    assert isinstance(guessed(name, mixed, Choices(unordered=(turned,))).scale, Nominal)


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("q1", "A|B|C|D"),
        ("q1", "A|B|C|D|E|F"),
        ("q1", "A|B|F"),
        ("Mark the right one", "A|B|C|D"),
        ("Note the right answer", "A|B|C|D"),
        ("Su voto", "A|B|C|D"),
        ("Question marks", "A|B|C"),
        ("What grade of oil?", "A|B|C|D"),
        ("blood", "AB+|A-|B+|O-"),
        ("set", "I|V|X"),
        ("party", "I|II|R"),
        ("stage", "I|III|IX"),
        ("Which statement is true?", "I|II|III|IV"),
    ],
)
def test_letters_that_are_no_grades(name, levels):
    assert isinstance(guessed(name, levels.split("|")).scale, Nominal)


@pytest.mark.parametrize(
    ("name", "letters", "test"),
    [
        *(("Q7", "ABCD", True), ("item_12", "abc", True), ("Question 3b", "ABCDE", True)),
        *(("Physics", "ABCD", False), ("Q7", "ABCX", False), ("class of 2020", "ABC", False)),
    ],
)
def test_letters_of_a_test_are_choices_in_many_columns(name, letters, test):
    question = Answered(name, tuple(letters), (10,) * len(letters), alike=9)
    if test:
        found = guess(question, Choices())
        assert isinstance(found, Guess)
        assert found.scale == Nominal(levels=tuple(letters))
        assert "letters of choices" in found.why
    else:
        with pytest.raises(CrowdError, match="in which order"):
            guess(question, Choices())


def test_blood_groups_are_no_grades():
    groups = [f"{letter}{sign}" for letter in ("A", "B", "AB", "O") for sign in "+-"]
    for several in (*itertools.combinations(groups, 4), groups[:3]):
        assert in_grades("group", several) is None
