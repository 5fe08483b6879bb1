"""Names that look the same are the same."""

import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdllm_jax.runtime.names import (
    as_shown,
    did_you_mean,
    look_alikes,
    tidy_fields,
    tidy_name,
    tidy_names,
    tidy_text,
)

TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from("e\u0301\u00a0\u200b\u200d \t\n"))


@given(TEXT)
def test_tidying_twice_is_tidying_once(text):
    for tidy in (tidy_text, tidy_name):
        assert tidy(tidy(text)) == tidy(text)
    assert tidy_name(tidy_text(text)) == tidy_name(text)


@given(TEXT)
def test_the_form_of_accents_does_not_matter(text):
    for tidy in (tidy_text, tidy_name):
        assert tidy(unicodedata.normalize("NFD", text)) == tidy(unicodedata.normalize("NFC", text))


@given(st.text("aB é\u0301,", max_size=5), st.text(" \t\u00a0\u3000\u200b\u2060\ufeff", max_size=3))
def test_blanks_around_do_not_matter(text, blanks):
    assert tidy_name(blanks + text + blanks) == tidy_name(text)
    assert tidy_text(blanks + text + blanks) == tidy_text(text)


@given(st.text("aé1.,;'\"-()", min_size=1))
def test_other_signs_stay(text):
    assert tidy_name(text) == tidy_text(text) == unicodedata.normalize("NFC", text)


def test_the_inside_of_a_text_stays():
    assert tidy_text(" a  b\u00a0c\n\nd\u200be ") == "a  b\u00a0c\n\nd\u200be"
    assert tidy_name(" a  b\u00a0c\n\nd\u200be ") == "a b c de"


def test_joiners_stay_within_words():
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert tidy_name(persian) == persian
    assert tidy_name(f"\u200d{persian}\u200c") == persian


def test_names_anywhere_in_an_entry():
    assert tidy_names({" a": ("b ", 1, 2.5), "c": {" d": None}}) == {
        "a": ("b", 1, 2.5),
        "c": {"d": None},
    }
    with pytest.raises(ValueError, match="are one name"):
        tidy_names({"a": 1, "a ": 2})


def test_fields_that_hold_no_names_stay():
    class Entry(msgspec.Struct, frozen=True):
        path: str
        name: str

        def __post_init__(self):
            tidy_fields(self, "path")

    made = Entry(" p ", " n ")
    assert (made.path, made.name) == (" p ", "n")
    assert msgspec.convert({"path": " p ", "name": " n "}, Entry) == made


def test_look_alikes():
    names = ("man", "Man", "woman", "don't", "don’t", "18–24", "18-24", "New York", "NewYork")
    assert look_alikes(names) == [names[:2], names[3:5], names[5:7], names[7:9]]
    assert look_alikes(("a", "b")) == []
    assert did_you_mean("MAN", names) == "; did you mean 'man'?"
    assert did_you_mean("x", names) == ""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("woman", "woman"),
        ("New York", "New York"),
        ("", "''"),
        ("a ", "'a '"),
        ("a,b", "'a,b'"),
        (3, "3"),
        ("a\u200db", "'a\\u200db'"),
    ],
)
def test_odd_names_are_shown_in_quotes(name, told):
    assert as_shown(name) == told
