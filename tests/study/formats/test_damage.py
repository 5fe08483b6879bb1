"""Damaged and odd files: one message, no traceback, nothing that grows without bound."""

import contextlib
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import SAMPLES

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.make import draft_of_file
from crowdllm_jax.study.draft.write import study_of_draft
from crowdllm_jax.study.formats import excel


def told(path: Path) -> str:
    with pytest.raises(CrowdError) as caught:
        study_of_draft(draft_of_file(path), "it")
    return str(caught.value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    for name, write in SAMPLES.items():
        write(folder / name)
    return folder


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_cut_off_anywhere_is_read_or_refused_in_a_message(name, whole, tmp_path):
    data = (whole / name).read_bytes()
    for share in (0.02, 0.3, 0.7, 0.97):
        path = tmp_path / name
        path.write_bytes(data[: int(len(data) * share)])
        with contextlib.suppress(CrowdError):
            study_of_draft(draft_of_file(path), "it")


@pytest.mark.parametrize(
    "name", ["wide.csv", "qualtrics.csv", "labels.json", "fruit.soc", "budget.pb"]
)
@given(data=st.binary(max_size=400), begin=st.integers(0, 300))
def test_bytes_that_nobody_wrote(name, data, begin, whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("noise") / name
    path.write_bytes((whole / name).read_bytes()[:begin] + data)
    with contextlib.suppress(CrowdError):
        study_of_draft(draft_of_file(path), "it")


def text(folder: Path, content: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(content)
    return path


def test_files_that_hold_nothing(tmp_path):
    assert "is empty" in told(text(tmp_path, ""))
    assert "blank lines" in told(text(tmp_path, "\n\n"))
    assert "has a header but no rows" in told(text(tmp_path, "id,q1,q2\n"))
    assert "no such file" in told(tmp_path / "none.csv")
    assert "is a folder" in told(tmp_path)
    assert "has one column" in told(text(tmp_path, "just some words\nand more\n"))
    titled = "Export 2024\n\nid,q\n" + "".join(f"{i},{i % 3}\n" for i in range(9))
    assert "delete what stands above the row of names" in told(text(tmp_path, titled))
    longer = "id,q\n1,2\n2,3,4\n3,1\n"
    assert "row 3 has 3 cells, the header 2 (a cell" in told(text(tmp_path, longer))
    noted = "id,q\n1,2\n2,3\nSource: a panel\n"
    assert "the header 2 (if it is a note below the table" in told(text(tmp_path, noted))
    assert "write a comma in place of each" in told(text(tmp_path, "id q1 q2\n1 2 3\n2 3 4\n"))


def test_two_columns_of_one_name(tmp_path):
    rows = "".join(f"p{i},{1 + i % 5},{1 + i % 4}\n" for i in range(12))
    draft = draft_of_file(text(tmp_path, "id,q,q\n" + rows))
    assert [task.id for task in draft.tasks] == ["q", "q_2"]
    assert "Columns of one name are told apart by numbers: q." in draft.reasons


def test_a_table_without_a_row_of_names(tmp_path):
    rows = "".join(f"{1 + i // 6}\t{i % 6}\t{1 + i % 5}\t{88125 + 7 * i}\n" for i in range(40))
    assert "has no row of names" in told(text(tmp_path, rows))
    pivot = "user,31,1029,1061\n" + "".join(f"{i},{i % 5},{i % 4},{i % 3}\n" for i in range(12))
    assert len(draft_of_file(text(tmp_path, pivot)).tasks) == 3
    assert "write a comma in place of each ::" in told(text(tmp_path, "1::2::3\n2::2::4\n"))


def test_a_table_of_words_without_a_row_of_names(tmp_path):
    words = ("never", "rarely", "often")
    rows = [f"p{i},{words[i % 3]},{words[i // 3 % 3]}" for i in range(12)]
    assert "has no row of names" in told(text(tmp_path, "\n".join(rows)))
    # A header may come again where tables were put together, and name a box that is ticked.
    header = "id,often,rarely\n"
    ticks = "".join(f"p{i},{'often' * (i % 2)},{'rarely' * (i % 3 > 0)}\n" for i in range(6))
    path = text(tmp_path, header + ticks + header + ticks.replace("p", "q"))
    assert set(draft_of_file(path).scales) == {"not_chosen_to_chosen"}


def test_a_first_column_without_a_name_is_no_row_of_headings(tmp_path):
    rows = "".join(f"Ann {i},{1 + i % 5},{'' if i == 0 else 1 + i % 4}\n" for i in range(12))
    assert len(draft_of_file(text(tmp_path, ",q1,q2\n" + rows)).people) == 12


def test_formulas_are_texts(tmp_path):
    rows = "".join(f"p{i},{'=1+1' if i % 2 else '@x'},{i % 5}\n" for i in range(12))
    study = study_of_draft(draft_of_file(text(tmp_path, "id,odd,q\n" + rows)), "it")
    assert study.scale_of(study.tasks.ids.index("odd")).levels == ("=1+1", "@x")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_byte_order_marks(encoding, tmp_path):
    rows = "".join(f"p{i},{'né' if i % 2 else 'où'},{i % 5}\n" for i in range(12))
    (tmp_path / "a.csv").write_bytes(("id,é,q\n" + rows).encode(encoding))
    study = study_of_draft(draft_of_file(tmp_path / "a.csv"), "it")
    assert set(study.tasks.ids) == {"é", "q"}
    assert study.scale_of(study.tasks.ids.index("é")).levels == ("né", "où")


def test_twenty_thousand_columns(tmp_path):
    header = ",".join(f"q{i}" for i in range(20_000))
    path = text(tmp_path, f"{header}\n" + f"{'1,' * 19_999}1\n" * 2)
    tracemalloc.start()
    assert "has 20,000 columns; 5,000 are looked at at most" in told(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # So many names, their cells in the first rows, and little more.
    assert peak < 30e6


def test_a_workbook_that_unpacks_to_more_than_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(excel, "MAX_UNPACKED", 1_000_000)
    name = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(name, bytes(1_000_001))
    assert "unpacks to more than" in told(tmp_path / "a.xlsx")


def test_formulas_without_a_value(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["id", "q1", "sum"])
    for i in range(6):
        book.active.append([i, i % 3, f"=B{i + 2}+1"])
    book.save(tmp_path / "f.xlsx")
    assert "column 'sum' holds formulas that were never computed" in told(tmp_path / "f.xlsx")


def test_several_sheets_are_asked_for(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for sheet in (book.active, book.create_sheet("Second")):
        sheet.append(["id", "q1"])
        for i in range(6):
            sheet.append([i, i % 3])
    book.save(tmp_path / "b.xlsx")
    assert "which sheet holds the answers: Sheet, Second?" in told(tmp_path / "b.xlsx")
    assert draft_of_file(tmp_path / "b.xlsx", sheet="Second").tasks[0].id == "q1"


def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch):
    SAMPLES["survey.sav"](tmp_path / "survey.sav")
    monkeypatch.setitem(sys.modules, "pyreadstat", None)
    assert "pip install 'crowdllm-jax[files]'" in told(tmp_path / "survey.sav")


def test_an_encoding_that_cannot_be_told_is_asked_for(tmp_path):
    # 0x81 is no character of CP1252, and no UTF-8.
    (tmp_path / "a.csv").write_bytes(b"id,q\n1,\x81\x8d\n2,b\n")
    assert "Say it with --encoding" in told(tmp_path / "a.csv")
    rows = "".join(f"p{i},{'はい' if i % 2 else 'いいえ'}\n" for i in range(8))
    (tmp_path / "j.csv").write_bytes(("id,q\n" + rows).encode("shift_jis"))
    draft = draft_of_file(tmp_path / "j.csv", encoding="shift_jis")
    assert set(draft.answers) == {"はい", "いいえ"}
