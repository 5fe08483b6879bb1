"""Answer formats: what is an answer, which number it stands for, and how it is written."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.runtime.numerals import leading_number
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.scales import (
    Approval,
    Binary,
    Continuous,
    KApproval,
    Nominal,
    Ordinal,
    Points,
    Ranking,
)

RATING = Ordinal(levels=(1, 2, 3))
WORDS = Ordinal(levels=("on", "off", "e-3"))
QUOTED = Ordinal(levels=("0", "1", "2"), labels=("none", "", "more"))
RECOMMEND = Ordinal(levels=("0 - not at all", 1, "2", "3 - very"))
DISCRETE = [
    RATING,
    WORDS,
    Ordinal(levels=(0.5, 2, 7)),
    Nominal(levels=("a", "b")),
    Binary(),
    QUOTED,
    RECOMMEND,
    Binary(levels=("1 - yes", "2 - no")),
    Nominal(levels=(1, 2, "other")),
    Approval(),
    KApproval(k=2),
    Ranking(k=3),
    Points(budget=4),
]
KINDS = [*DISCRETE, Continuous(low=-1, high=2)]


@pytest.mark.parametrize("scale", KINDS, ids=scales.kind)
def test_a_scale_describes_itself_consistently(scale):
    scale_text.check(scale, "here")
    k = scales.size(scale)
    assert len(scales.written(scale)) == len(scales.labels(scale)) == k
    assert scales.kind(scale).split("_")[-1] in scale_text.describe(scale)
    levels = scales.values(scale)
    assert len(levels) == (k or 2)
    assert (np.diff(levels) > 0).all()


WORD = st.text(st.characters(codec="utf-8", exclude_characters=",()"), min_size=1, max_size=8)
LEVELS = st.lists(
    st.integers(-99, 99)
    | st.floats(-9, 9)
    | WORD
    | st.builds("{}{}{}".format, st.integers(-9, 30), st.sampled_from([" - ", ". ", "="]), WORD),
    min_size=2,
    max_size=6,
).map(tuple)


@st.composite
def any_scale(draw) -> scales.Scale:
    """Scales as a user might write them, good and bad."""
    kind = draw(st.sampled_from([Ordinal, Nominal, Binary, KApproval, Ranking, Points]))
    if kind in (KApproval, Ranking):
        return kind(k=draw(st.integers(1, 9)))
    if kind is Points:
        return kind(budget=draw(st.integers(1, 30)))
    levels = draw(LEVELS)
    if draw(st.booleans()):
        levels = tuple(sorted(levels, key=lambda one: (isinstance(one, str), one)))
    labels = draw(
        st.just(())
        | st.lists(WORD | st.just(""), min_size=len(levels), max_size=len(levels)).map(tuple)
    )
    return kind(levels=levels, labels=labels)


def checked(scale: scales.Scale) -> bool:
    try:
        scale_text.check(scale, "here")
    except CrowdError:
        return False
    return True


@pytest.mark.parametrize("scale", DISCRETE, ids=scale_text.describe)
def test_what_a_scale_writes_it_reads(scale):
    assert checked(scale)
    for texts in (scales.written(scale), scales.labels(scale)):
        for level, token in enumerate(texts):
            assert scale_text.parse(scale, str(token)) == level


@given(any_scale().filter(checked))
def test_every_code_label_and_number_of_a_scale_is_its_own_level(scale):
    """Writing an answer in any way and reading it back is the identity."""
    assert (np.diff(scales.values(scale)) > 0).all()
    for texts in (scales.written(scale), scales.labels(scale)):
        assert [scale_text.parse(scale, str(text)) for text in texts] == list(range(len(texts)))
    for level, code in enumerate(scales.written(scale)):
        if (plain := numerals.number(str(code))) is not None:
            assert scale_text.parse(scale, f"{plain:.17e}") == level


@given(any_scale().filter(checked))
def test_what_a_message_lists_is_taken(scale):
    told = scale_text.describe(scale)
    if " levels: " in told and not any("," in str(one) for one in scales.labels(scale)):
        codes, _, named = told.split(" levels: ", 1)[1].partition(" (labels: ")
        for texts in (codes, named.removesuffix(")")):
            for text in texts.split(", ") if texts else ():
                assert scale_text.parse(scale, text) is not None, (told, text)


def test_numbers_of_levels():
    assert scales.values(Ordinal(levels=(0.5, 2, 7))).tolist() == [0.5, 2, 7]
    assert scales.values(WORDS).tolist() == [1, 2, 3]
    assert scales.values(QUOTED).tolist() == [0, 1, 2]
    assert scales.values(RECOMMEND).tolist() == [0, 1, 2, 3]
    assert scales.values(Ordinal(levels=("never", "1 day", "2 days"))).tolist() == [1, 2, 3]
    assert scales.values(Ordinal(levels=("18-24", "25-34", "35 - 49"))).tolist() == [1, 2, 3]
    # Amounts of another unit begin with numbers that do not increase: they are no codes.
    assert scales.values(Ordinal(levels=("1 month", "3 months", "1 year"))).tolist() == [1, 2, 3]
    assert scales.values(Nominal(levels=("7", "3"))).tolist() == [0, 1]
    assert scales.values(Binary(levels=("no", "yes"))).tolist() == [0, 1]
    assert scales.values(Continuous(low=-1, high=2)).tolist() == [-1, 2]


@pytest.mark.parametrize(
    ("scale", "token", "level"),
    [
        (RATING, "2", 1),
        (RATING, "2.0", 1),
        (RATING, "2e0", 1),
        (RATING, "02", 1),
        (RATING, "2.5", None),
        (RATING, " 2", None),
        (RATING, "0", None),
        (RATING, "", None),
        (RATING, "two", None),
        (RATING, "nan", None),
        (RATING, "2_0", None),
        (WORDS, "on", 0),
        (WORDS, "True", None),
        (WORDS, "e-3", 2),
        (QUOTED, "1.0", 1),
        (QUOTED, "more", 2),
        (QUOTED, "2 more", None),
        (RECOMMEND, "0", 0),
        (RECOMMEND, "3.0", 3),
        (RECOMMEND, "3 - very", 3),
        (RECOMMEND, "not at all", None),
        (Binary(levels=("1 - yes", "2 - no")), "2", 1),
        (Nominal(levels=("1 day", "1 week")), "1", None),
        (Nominal(levels=(1, 2, "other")), "2.0", 1),
        (Continuous(low=-1, high=2), "2", 2.0),
        (Continuous(low=-1, high=2), "-1.0", -1.0),
        (Continuous(low=-1, high=2), "2.0001", None),
        (Continuous(low=-1, high=2), "1e999", None),
        (Continuous(low=-1, high=2), "nan", None),
        (Ranking(k=3), "1", 3),
        (Ranking(k=3), "3", 1),
        (Ranking(k=3), "0", 0),
        (Ranking(k=3), "4", None),
        (Points(budget=4), "4", 4),
        (Points(budget=4), "-1", None),
        (Points(budget=4), "1.5", None),
    ],
)
def test_reading_one_answer(scale, token, level):
    assert scale_text.parse(scale, token) == level


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0 - Not at all likely", 0),
        ("1. Strongly disagree", 1),
        ("5 = Agree", 5),
        ("3: often", 3),
        ("[2] seldom", 2),
        ("(4) always", 4),
        ("7 very", 7),
        ("5+", 5),
        ("-1.5 \u2013 less", -1.5),
        ("\u22122 (no)", -2),
        ("4: the top 10%", 4),
        ("2) 18-24", 2),
        ("2 = 18-24", 2),
        ("[2] 18-24", 2),
        ("2: 18-24", 2),
        ("2. 18-24", 2),
        ("1:10", None),
        ("1.5.2024", None),
        ("2 - 24", None),
        ("2 (3-5 times)", None),
        ("7.0", 7),
        ("18-24", None),
        ("10 to 20 minutes", None),
        ("1st", None),
        ("1,5", None),
        ("grade 3", None),
        ("1" * 400, None),
        ("", None),
    ],
)
def test_the_number_a_level_begins_with(text, number):
    assert leading_number(text) == number


@pytest.mark.parametrize(
    ("scale", "told"),
    [
        (
            Ordinal(levels=("never", 1, "2", "always")),
            r'no number.*levels: \[\?, 1, 2, \?\], labels: \["never", "1", "2", "always"\]',
        ),
        (Ordinal(levels=("5", "4", "3")), "must increase"),
        (Ordinal(levels=("3 - good", "2", "1 - bad")), "must increase"),
        (Ordinal(levels=("3 - good", "2 - so so", "1 - bad")), "must increase"),
        (Ordinal(levels=("1", "1.0")), "must increase"),
        (Ordinal(levels=(1, 0, -1)), "list the lowest first$"),
        (Ordinal(levels=(1, 2), labels=("2", "1")), "'2' would be an answer of level '1' and of"),
        (Ordinal(levels=(0, 1, 2), labels=("1.0", "2", "3")), "'1.0' would be"),
        (Ordinal(levels=(1, 2), labels=("same", "same")), "'same' would be"),
        (Nominal(levels=("a", "b"), labels=("b", "c")), "'b' would be"),
        (Binary(levels=("7", "07")), "'7' would be"),
        (Ordinal(levels=(1, 2, 3), labels=("3 high", "2 mid", "1 low")), "level 1 has .* '3 high'"),
        (Ordinal(levels=(1, 2, 3), labels=("3 (high)", "", "1 (low)")), "of its own number"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(scale, told):
    with pytest.raises(CrowdError, match=f"here: .*{told}"):
        scale_text.check(scale, "here")


def test_the_remedy_for_numbers_and_words_is_taken():
    """Numbers under `levels`, what the data hold as labels."""
    scale = Ordinal(levels=(0, 1, 2, 3), labels=("never", "1", "2", "always"))
    scale_text.check(scale, "here")
    assert [scale_text.parse(scale, one) for one in ("never", "1", "2", "always", "3")] == [
        0,
        1,
        2,
        3,
        3,
    ]


def test_labels_may_hold_other_numbers_than_codes():
    scale = Ordinal(levels=(1, 2, 3), labels=("0 times", "1 time", "2 times"))
    scale_text.check(scale, "here")
    assert scales.values(scale).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "levels",
    [(5, 4, 3), ("5 = agree", "4", "3 = disagree"), ("2 (no)", "0", "1"), (3, 1.5, 2)],
)
def test_the_remedy_for_falling_numbers_is_taken(levels):
    """What is told for a scale on which a lower number means more: every answer is read, and the
    values fall as the numbers rise."""
    with pytest.raises(CrowdError) as told:
        scale_text.check(Ordinal(levels=levels), "here")
    found = re.search(r"levels: \[(.*)\], labels: \[(.*)\]", str(told.value))
    numbers = tuple(map(float, found[1].split(", ")))
    scale = Ordinal(levels=numbers, labels=tuple(found[2].strip('"').split('", "')))
    scale_text.check(scale, "here")
    for level in levels:
        counted = scales.values(scale)[int(scale_text.parse(scale, str(level)))]
        assert counted == -leading_number(str(level))


def test_what_each_level_counts_as_is_shown():
    assert scale_text.counted(RATING) == ("1", "2", "3")
    assert scale_text.counted(QUOTED) == ("0 (none)", "1", "2 (more)")
    assert scale_text.counted(RECOMMEND) == ("0 - not at all = 0", "1", "2", "3 - very = 3")
    assert scale_text.counted(Binary(levels=(1, 2))) == ("1 = 0", "2 = 1")
    assert scale_text.counted(Nominal(levels=("a", 2))) == ("a", "2")
    assert scale_text.counted(Ranking(k=2)) == ("0", "2 = 1", "1 = 2")


@given(st.text(max_size=12))
def test_any_text_is_a_plain_finite_number_or_none(token):
    found = numerals.number(token)
    assert found is None or np.isfinite(found)
    assert scale_text.parse(RATING, token) in (None, 0, 1, 2)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read_exactly(number):
    assert numerals.number(repr(number)) == number


def ballots(n: int, t: int, top: int):
    row = st.lists(st.integers(0, top), min_size=t, max_size=t)
    return st.lists(row, min_size=n, max_size=n)


@given(ballots(3, 4, 3))
def test_ballot_faults_by_definition(rows):
    array = np.array(rows)
    rules = {
        KApproval(k=2): lambda row: sum(row) == 2,
        Ranking(k=2): lambda row: sorted(level for level in row if level) == [1, 2],
        Points(budget=3): lambda row: sum(row) == 3,
        Approval(): lambda _: True,
    }
    for scale, holds in rules.items():
        expected = [not holds(row) for row in rows]
        assert scales.ballot_fault(scale, array).tolist() == expected, scale


@pytest.mark.parametrize("scale", KINDS, ids=scales.kind)
def test_what_holds_of_a_kind_follows_from_its_answers(scale):
    """Without regard to the kinds: from levels, numbers and the rule of a ballot alone."""
    assert scales.is_continuous(scale) == (scales.size(scale) == 0)
    every = np.stack(np.meshgrid(*[np.arange(scales.size(scale))] * 3), axis=-1).reshape(-1, 3)
    # Two tasks are answered apart if every combination of their levels is an answer.
    assert scales.is_joint(scale) == bool(scales.ballot_fault(scale, every).any())
    assert scales.is_ballot(scale) or not scales.is_joint(scale)
    fewest = scales.fewest_tasks(scale)
    if fewest:
        assert scales.ballot_fault(scale, every[:, : fewest - 1]).all()


@pytest.mark.parametrize("scale", KINDS, ids=scales.kind)
def test_numbers_of_answers(scale):
    read = scale_text.reader(scale)
    written = scales.written(scale) or ("-1", "0.5", "2.0")
    answers = np.array([[read(str(text)) for text in written]])
    expected = scales.values(scale) if scales.size(scale) else [-1, 0.5, 2]
    np.testing.assert_array_equal(scales.numbers(scale, answers), [expected])


def test_which_of_several_scales():
    several = [Continuous(low=0, high=1), Nominal(levels=("a", "b")), Ranking(k=1), RATING]
    assert scales.which(scales.is_continuous, several).tolist() == [True, False, False, False]
    assert scales.which(scales.is_ordered, several).tolist() == [True, False, True, True]
    assert scales.which(scales.is_ordered, []).shape == (0,)


def test_a_ranking_longer_than_its_ballot_is_at_fault():
    assert scales.ballot_fault(Ranking(k=3), np.array([[1, 2]])).all()


@pytest.mark.parametrize("k", [0, 1001])
def test_sizes_out_of_range(k):
    for scale in (KApproval(k=k), Ranking(k=k), Points(budget=k)):
        with pytest.raises(CrowdError, match=r"here: .*1 to 1000"):
            scale_text.check(scale, "here")
