"""Reading text columns: nothing is guessed, and nothing is lost."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.tables import read_table, read_vectors, rows


def texts(column) -> list[str | None]:
    return [None if code < 0 else column.distinct[code] for code in column.codes]


def csv_of(folder: Path, text: str | bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def parquet_of(folder: Path, column: pa.Array) -> Path:
    pq.write_table(pa.table({"a": column}), folder / "t.parquet")
    return folder / "t.parquet"


HOSTILE = ["007", "7", "1e999", "nan", "NA", "null", "True", "on", str(2**63 + 1), "1.0", "a,b",
           'say "hi"', "two\nlines", "ü", " x "]  # fmt: skip


def test_csv_cells_stay_as_they_were_written(tmp_path):
    quoted = "\n".join('"' + text.replace('"', '""') + '"' for text in HOSTILE)
    column = read_table(csv_of(tmp_path, f"a\n{quoted}\n"), ["a"])["a"]
    assert texts(column) == HOSTILE


def test_parquet_text_stays_as_it_is(tmp_path):
    column = read_table(parquet_of(tmp_path, pa.array(HOSTILE)), ["a"])["a"]
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
    cell = "one\ntwo, three\n" * 20
    column = read_table(csv_of(tmp_path, "a\n" + f'"{cell}"\n' * 10_000), ["a"])["a"]
    assert column.distinct == (cell,)
    assert len(column.codes) == 10_000


def test_line_ends_of_other_systems(tmp_path):
    assert texts(read_table(csv_of(tmp_path, "a,b\r\n1,2\r\n"), ["b"])["b"]) == ["2"]


def test_missing_texts_become_gaps(tmp_path):
    column = read_table(csv_of(tmp_path, "a,b\nNA,1\n,1\n-9,1\nx,1\n"), ["a"], missing=("NA", "-9"))
    assert texts(column["a"]) == [None, None, None, "x"]
    assert column["a"].distinct == ("x",)


def test_another_delimiter(tmp_path):
    column = read_table(csv_of(tmp_path, "a;b\n1,5;2\n"), ["a"], delimiter=";")["a"]
    assert texts(column) == ["1,5"]


CELL = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELL, min_size=1, max_size=8))
def test_csv_and_parquet_read_any_text_alike(tmp_path, cells):
    quoted = "\n".join('"' + text.replace('"', '""') + '"' for text in cells)
    from_csv = read_table(csv_of(tmp_path, f"a\n{quoted}\n"), ["a"])["a"]
    from_parquet = read_table(parquet_of(tmp_path, pa.array(cells)), ["a"])["a"]
    assert texts(from_csv) == texts(from_parquet) == [text or None for text in cells]


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
    pq.write_table(pa.table({"a": [str(i) for i in range(500)]}), path, write_page_checksum=True,
                   compression="none", use_dictionary=False)  # fmt: skip
    data = bytearray(path.read_bytes())
    data[data.index(b"321")] ^= 1
    path.write_bytes(data)
    with pytest.raises(CrowdError, match=r"t\.parquet: cannot be read"):
        read_table(path, ["a"])
