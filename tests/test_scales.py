"""Answer formats: what is an answer, which number it stands for, and how it is written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdllm_jax import scales
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.scales import (
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
WORDS = Ordinal(levels=("on", "off", "1e-3"))
DISCRETE = [RATING, WORDS, Ordinal(levels=(0.5, 2, 7)), Nominal(levels=("a", "b")), Binary(),
            Approval(), KApproval(k=2), Ranking(k=3), Points(budget=4)]  # fmt: skip
KINDS = [*DISCRETE, Continuous(low=-1, high=2)]


@pytest.mark.parametrize("scale", KINDS, ids=scales.kind)
def test_a_scale_describes_itself_consistently(scale):
    scales.check(scale, "here")
    k = scales.size(scale)
    assert len(scales.written(scale)) == len(scales.labels(scale)) == k
    assert scales.kind(scale).split("_")[-1] in scales.describe(scale)
    levels = scales.values(scale)
    assert len(levels) == (k or 2)
    assert (np.diff(levels) > 0).all()


@pytest.mark.parametrize("scale", DISCRETE, ids=scales.kind)
def test_what_a_scale_writes_it_reads(scale):
    for level, token in enumerate(scales.written(scale)):
        assert scales.parse(scale, str(token)) == level


def test_numbers_of_levels():
    assert scales.values(Ordinal(levels=(0.5, 2, 7))).tolist() == [0.5, 2, 7]
    assert scales.values(WORDS).tolist() == [1, 2, 3]
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
        (WORDS, "1e-3", 2),
        # A level that is a word is never compared as a number.
        (WORDS, "0.001", None),
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
    assert scales.parse(scale, token) == level


@given(st.text(max_size=12))
def test_any_text_is_a_plain_finite_number_or_none(token):
    found = scales.number(token)
    assert found is None or np.isfinite(found)
    assert scales.parse(RATING, token) in (None, 0, 1, 2)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read_exactly(number):
    assert scales.number(repr(number)) == number


def ballots(n: int, t: int, top: int):
    row = st.lists(st.integers(-1, top), min_size=t, max_size=t)
    return st.lists(row, min_size=n, max_size=n)


@given(ballots(3, 4, 3))
def test_ballot_faults_by_definition(rows):
    array = np.array(rows)
    given_levels = [[max(level, 0) for level in row] for row in rows]
    rules = {
        KApproval(k=2): lambda row: sum(row) == 2,
        Ranking(k=2): lambda row: sorted(level for level in row if level) == [1, 2],
        Points(budget=3): lambda row: sum(row) == 3,
        Approval(): lambda row: True,
    }
    for scale, holds in rules.items():
        expected = [not holds(row) for row in given_levels]
        assert scales.ballot_fault(scale, array).tolist() == expected, scale


def test_a_ranking_longer_than_its_ballot_is_at_fault():
    assert scales.ballot_fault(Ranking(k=3), np.array([[1, 2]])).all()


def test_codes_are_what_the_files_hold():
    assert scales.codes(Ranking(k=3)).tolist() == [0, 3, 2, 1]
    assert scales.codes(RATING).tolist() == [1, 2, 3]
    assert scales.codes(Continuous(low=0, high=1)) is None


@pytest.mark.parametrize("k", [0, 1001])
def test_sizes_out_of_range(k):
    for scale in (KApproval(k=k), Ranking(k=k), Points(budget=k)):
        with pytest.raises(CrowdError, match=r"here: .*1 to 1000"):
            scales.check(scale, "here")
