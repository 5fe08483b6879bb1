"""Reading text columns: nothing is guessed, and nothing is lost."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name, tidy_text
from crowdllm_jax.study import csv_file
from crowdllm_jax.study.csv_file import Dialect
from crowdllm_jax.study.tables import read_table, read_vectors, rows, without


def texts(column) -> list[str | None]:
    return [None if code < 0 else column.distinct[code] for code in column.codes]


def csv_of(folder: Path, text: str | bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def parquet_of(folder: Path, column: pa.Array) -> Path:
    pq.write_table(pa.table({"a": column}), folder / "t.parquet")
    return folder / "t.parquet"


HOSTILE = [
    "007",
    "7",
    "1e999",
    "nan",
    "NA",
    "null",
    "True",
    "on",
    str(2**63 + 1),
    "1.0",
    "a,b",
    'say "hi"',
    "two\nlines",
    "ü",
    "two  blanks",
]


def test_csv_cells_stay_as_they_were_written(tmp_path):
    quoted = "\n".join('"' + text.replace('"', '""') + '"' for text in HOSTILE)
    column = read_table(csv_of(tmp_path, f"a\n{quoted}\n"), ["a"], prose=["a"])["a"]
    assert texts(column) == HOSTILE


def test_parquet_text_stays_as_it_is(tmp_path):
    column = read_table(parquet_of(tmp_path, pa.array(HOSTILE)), ["a"], prose=["a"])["a"]
    assert texts(column) == HOSTILE


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None, 2**62]), ["1", None, str(2**62)]),
        (pa.array([2**64 - 1], pa.uint64()), [str(2**64 - 1)]),
        (pa.array([1.0, None, 3.0]), ["1", None, "3"]),
        (pa.array([0.5, 3.0]), ["0.5", "3"]),
        (pa.array([float("nan"), 1.0]), ["nan", "1"]),
        (pa.array([True, False, None]), ["1", "0", None]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pa.array(["x"], pa.large_string()), ["x"]),
        (pa.nulls(2), [None, None]),
    ],
    ids=["int64", "uint64", "whole floats", "floats", "nan", "bool", "categories", "large", "null"],
)
def test_parquet_types_read_as_people_write_them(tmp_path, array, expected):
    assert texts(read_table(parquet_of(tmp_path, array), ["a"])["a"]) == expected


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    column = read_table(csv_of(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n"), ["a"])["a"]
    assert texts(column) == ["1"]


def test_cells_of_several_lines_in_a_long_file(tmp_path):
    """Readers cut a file into blocks of a megabyte; a cut must not fall into a cell."""
    cell = "one\ntwo, three\n" * 20 + "end"
    path = csv_of(tmp_path, "a\n" + f'"{cell}"\n' * 10_000)
    column = read_table(path, ["a"], prose=["a"])["a"]
    assert column.distinct == (cell,)
    assert len(column.codes) == 10_000


def test_line_ends_of_other_systems(tmp_path):
    assert texts(read_table(csv_of(tmp_path, "a,b\r\n1,2\r\n"), ["b"])["b"]) == ["2"]


def test_missing_texts_become_gaps(tmp_path):
    column = read_table(csv_of(tmp_path, "a,b\nNA,1\n,1\n-9,1\nx,1\n"), ["a"])["a"]
    column = without(column, lambda text: text in ("NA", "-9"), broad=True)
    assert texts(column) == [None, None, None, "x"]
    assert column.distinct == ("x",)
    assert column.emptied == ("NA", "-9")


def test_another_delimiter(tmp_path):
    path = csv_of(tmp_path, "a;b\n1,5;2\n")
    column = read_table(path, ["a"], dialect=Dialect(delimiter=";"))["a"]
    assert texts(column) == ["1,5"]


CELL = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELL, min_size=1, max_size=8))
def test_csv_and_parquet_read_any_text_alike(tmp_path, cells):
    quoted = "\n".join('"' + text.replace('"', '""') + '"' for text in cells)
    for prose, tidy in ((["a"], tidy_text), ([], tidy_name)):
        path = csv_of(tmp_path, f"a\n{quoted}\n")
        from_csv = read_table(path, ["a"], prose=prose)["a"]
        from_parquet = read_table(parquet_of(tmp_path, pa.array(cells)), ["a"], prose=prose)["a"]
        assert texts(from_csv) == texts(from_parquet) == [tidy(text) or None for text in cells]


SIGNS = st.text('a,"\\\n', max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.lists(st.tuples(SIGNS, SIGNS), min_size=1, max_size=4))
def test_quotes_and_backslashes_of_a_proper_file_are_never_taken_for_escapes(tmp_path, cells):
    """Written by the standard's rule (doubled quotes), any text comes back."""
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([("a", "b"), *cells])
    table = read_table(tmp_path / "t.csv", ["a", "b"], prose=["a", "b"])
    for name, column in zip("ab", zip(*cells, strict=True), strict=True):
        assert texts(table[name]) == [tidy_text(text) or None for text in column]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.lists(SIGNS, min_size=1, max_size=4))
def test_escaped_quotes_are_read_as_their_writer_meant_them(tmp_path, cells):
    """By backslashes any text comes back, once one cell shows that they escape."""
    sure = 'say "hi" to'
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\")
        writer.writerows([("a", "b"), (sure, "x"), *((text, "x") for text in cells)])
    column = read_table(tmp_path / "t.csv", ["a"], prose=["a"])["a"]
    assert texts(column) == [sure, *(tidy_text(text) or None for text in cells)]


@pytest.mark.parametrize("at", range(-3, 4))
def test_quotes_are_seen_across_the_pieces_a_file_is_looked_at_in(tmp_path, monkeypatch, at):
    monkeypatch.setattr(csv_file, "_CHUNK", 32)
    start = "a\n" + "x" * (28 + at) + "\n"
    column = read_table(csv_of(tmp_path, start + '"b \\"c\\" d"\n'), ["a"])["a"]
    assert column.distinct[1] == 'b "c" d'
    with pytest.raises(CrowdError, match="row 3: a quote"):
        read_table(csv_of(tmp_path, start + '"b "c" d"\n'), ["a"])
    with pytest.raises(CrowdError, match="row 3: a quote"):
        read_table(csv_of(tmp_path, start + '"b'), ["a"])


def test_many_pieces_of_text_have_one_dictionary(tmp_path):
    cells = pa.chunked_array([["x", "y"], ["y", "z"], [None, "x"]])
    pq.write_table(pa.table({"a": cells}), tmp_path / "t.parquet", row_group_size=2)
    column = read_table(tmp_path / "t.parquet", ["a"])["a"]
    assert texts(column) == ["x", "y", "y", "z", None, "x"]
    assert column.distinct == ("x", "y", "z")


def test_rows_count_from_the_header():
    assert rows(np.array([0])) == "row 2"
    assert rows(np.arange(5)) == "row 2, 3, 4 and 2 more"


def test_vectors(tmp_path):
    table = pa.table({"k": ["b", "a"], "v": [[1.0, 2.0], [3.0, 4.0]]})
    pq.write_table(table, tmp_path / "v.parquet")
    key, vectors = read_vectors(tmp_path / "v.parquet", "k", "v")
    assert texts(key) == ["b", "a"]
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, 2], [3, 4]]


def test_vectors_of_fixed_size_and_whole_numbers(tmp_path):
    cells = pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2))
    pq.write_table(pa.table({"k": ["b", "a"], "v": cells}), tmp_path / "v.parquet")
    assert read_vectors(tmp_path / "v.parquet", "k", "v")[1].tolist() == [[1, 2], [3, 4]]


def test_a_flipped_bit_in_a_parquet_with_checksums_is_noticed(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(
        pa.table({"a": [str(i) for i in range(500)]}),
        path,
        write_page_checksum=True,
        compression="none",
        use_dictionary=False,
    )
    data = bytearray(path.read_bytes())
    data[data.index(b"321")] ^= 1
    path.write_bytes(data)
    with pytest.raises(CrowdError, match=r"t\.parquet: cannot be read"):
        read_table(path, ["a"])
