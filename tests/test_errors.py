"""Errors of other libraries become one message that names the file."""

from pathlib import Path

import pytest

from crowdllm_jax.errors import CrowdError, first_line, named_errors

FILE = Path("counts.parquet")


def told(raised: Exception, *errors: type[Exception], remedy: str | None = None) -> str:
    with pytest.raises(CrowdError) as caught, named_errors(FILE, "is torn", *errors, remedy=remedy):
        raise raised
    return str(caught.value)


def test_the_file_the_reason_and_the_remedy():
    error = OSError("no bytes\nat 0x7f")
    assert told(error, OSError) == "counts.parquet: is torn: no bytes"
    assert told(error, OSError, remedy="mend it") == "counts.parquet: is torn (no bytes); mend it"


def test_an_error_without_a_word_is_told_by_its_type():
    assert told(KeyError(), Exception) == "counts.parquet: is torn: KeyError"
    assert len(first_line(ValueError("x" * 1000))) == 300


def test_a_fault_of_the_content_gets_the_place_where_there_is_a_remedy():
    fault = CrowdError("lacks a task")
    assert told(fault, OSError) == "lacks a task"
    assert told(fault, OSError, remedy="mend it") == "counts.parquet: lacks a task; mend it"


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), named_errors(FILE, "is torn", OSError):
        raise ZeroDivisionError
