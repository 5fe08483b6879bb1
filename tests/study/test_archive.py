"""Compressed tables: read as what they hold, or refused in one message."""

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from msgspec import structs

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import archive
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_file
from crowdllm_jax.study.read import read_study
from crowdllm_jax.study.records import fingerprint
from crowdllm_jax.study.scales import Ordinal
from crowdllm_jax.study.spec import ParticipantsSpec, ResponsesSpec, StudySpec, TasksSpec

ANSWERS = "participant,task,response\n" + "".join(
    f"p{i},t{j},{(i * j + i) % 5 + 1}\n" for i in range(12) for j in range(4)
)
TABLES = {
    "answers.csv": ANSWERS,
    "people.csv": "participant,age\n" + "".join(f"p{i},{20 + i}\n" for i in range(12)),
    "questions.csv": "task,text\n" + "".join(f"t{j},Question {j}?\n" for j in range(4)),
}


def zipped(*names: str) -> Callable[[bytes], bytes]:
    """What makes an archive in which each name holds the same."""

    def pack(data: bytes) -> bytes:
        out = pa.BufferOutputStream()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
            for name in names:
                file.writestr(name, data)
        return out.getvalue().to_pybytes()

    return pack


PACKERS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    ".zip": zipped("data/a.csv", "data/", "__MACOSX/data/._a.csv", "data/.DS_Store", "README.md"),
}


@pytest.mark.parametrize("name", ["./a.csv", "../b/a.csv", "word/a.csv", "xl/a.csv", "Index/a.csv"])
def test_any_folder_in_an_archive_may_hold_the_table(name, tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(name)(ANSWERS.encode()))
    assert len(draft_of_file(path).people) == 12


@pytest.fixture
def spec(tmp_path) -> StudySpec:
    return StudySpec(
        name="it",
        folder=str(tmp_path),
        responses=ResponsesSpec(path="answers.csv"),
        tasks=TasksSpec(path="questions.csv", text="text"),
        participants=ParticipantsSpec(path="people.csv", profile={"age": "numeric"}),
        scales={"five": Ordinal(levels=(1, 2, 3, 4, 5))},
    )


def packed(spec: StudySpec, end: str) -> StudySpec:
    """The same study of compressed tables."""
    parts = {
        part: structs.replace(getattr(spec, part), path=getattr(spec, part).path + end)
        for part in ("responses", "tasks", "participants")
    }
    return structs.replace(spec, **parts)


@pytest.mark.parametrize("end", PACKERS)
def test_a_study_of_compressed_tables_is_the_same(end, spec, tmp_path):
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text)
        (tmp_path / f"{name}{end}").write_bytes(PACKERS[end](text.encode()))
    assert fingerprint(read_study(packed(spec, end))) == fingerprint(read_study(spec))
    (draft, plain) = (draft_of_file(tmp_path / f"answers.csv{e}") for e in (end, ""))
    assert (draft.people, draft.scales) == (plain.people, plain.scales)
    assert draft.answer.tolist() == plain.answer.tolist()
    held = "a.csv" if end == ".zip" else "answers.csv"
    assert draft.reasons == (f"It is compressed, and holds {held}.", *plain.reasons)


def test_messages_name_the_file_that_was_given(spec, tmp_path):
    for name, text in TABLES.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.replace("t3,5", "t3,99").encode()))
    with pytest.raises(CrowdError) as caught:
        read_study(packed(spec, ".gz"))
    assert str(caught.value).startswith(f"{tmp_path / 'answers.csv.gz'}: column 'response': '99'")
    path = tmp_path / "answers.csv.gz"
    with pytest.raises(CrowdError) as caught:
        draft_of_file(path, Choices(person="who"))
    assert f"{path} has no column 'who'" in str(caught.value)
    path.write_bytes(gzip.compress(b"id,q1,q2\n1,5,4\n2,3,4\n2,4,1\n3,2,2\n"))
    with pytest.raises(CrowdError) as caught:
        draft_of_file(path)
    assert str(caught.value).startswith(f"{path}: column 'id': '2' stands in row 3, 4")
    path.write_bytes(gzip.compress(b'[{"a": 1}, {"a": 2}]'))
    with pytest.raises(CrowdError, match=r"crowdllm init answers\.csv\.gz"):
        read_study(packed(spec, ".gz"))


def test_warnings_name_the_file_that_was_given(spec, tmp_path):
    for name, text in TABLES.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.replace("Q", "É").encode()))
    with pytest.warns(UserWarning, match="is valid UTF-8|is read as CP1252") as caught:
        read_study(structs.replace(packed(spec, ".gz"), encoding="cp1252"))
    assert [str(warning.message).split(":")[0] for warning in caught] == [
        str(tmp_path / "questions.csv.gz")
    ]


def _with(data: bytes, at: dict[int, int]) -> bytes:
    """Some bytes of an archive of one file, and the same of its directory, set."""
    directory = data.index(b"PK\1\2") + 2
    new = bytearray(data)
    for place, value in at.items():
        new[place] = new[directory + place] = value
    return bytes(new)


def faults() -> dict[str, tuple[bytes, str]]:
    data = ANSWERS.encode()
    one = zipped("a.csv")(data)
    return {
        "two.zip": (
            zipped("a.csv", "b.tsv", "notes.txt")(data),
            "holds several files (a.csv, b.tsv); unpack it and name the one to be read",
        ),
        "none.zip": (zipped()(data), "holds no file"),
        "secret.zip": (_with(one, {6: 1}), "is encrypted; unpack it with its password"),
        "aes.zip": (_with(one, {8: 99}), "is compressed in a way that is not read"),
        "empty.csv.gz": (gzip.compress(b""), "is empty"),
        "twice.csv.gz": (gzip.compress(gzip.compress(data)), "is compressed twice"),
        **{
            f"cut.csv{end}": (pack(data)[: 2 * len(pack(data)) // 3], "fetch it again")
            for end, pack in PACKERS.items()
        },
    }


@pytest.mark.parametrize("name", faults())
def test_what_cannot_be_unpacked_is_told_in_one_message(name, tmp_path):
    content, says = faults()[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CrowdError) as caught:
        draft_of_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("end", PACKERS)
def test_nothing_is_unpacked_beyond_a_limit(end, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED", 10_000)
    monkeypatch.setattr(archive, "_PIECE", 1_000)
    size: list[int] = []
    copy = archive._copy

    def measured(path: Path, content: object, plain: Path) -> None:
        try:
            copy(path, content, plain)
        finally:
            size.append(plain.stat().st_size)

    monkeypatch.setattr(archive, "_copy", measured)
    path = tmp_path / f"a.csv{end}"
    path.write_bytes(PACKERS[end](b"participant,task,response\n" + b"1,2,3\n" * 10_000))
    with pytest.raises(CrowdError, match="unpacks to more than 10,000 bytes"):
        draft_of_file(path)
    assert size[0] <= 10_000
