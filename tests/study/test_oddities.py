"""What docs/study.md says is done with what a file holds, row by row of its table."""

import codecs
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import write_table

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.runs.config import load_study
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.read import read_study
from crowdllm_jax.study.records import Study, fingerprint
from crowdllm_jax.study.scales import Binary, Continuous, Ordinal
from crowdllm_jax.study.spec import ParticipantsSpec, ResponsesSpec, StudySpec, TasksSpec

TOWN = {"town": "categorical"}
GOOD = """\
participant,task,response,town
Zoë,q1,1,Köln
Zoë,q2,2,Köln
Bob,q1,3,New York
Bob,q2,4,New York
"""


def read(folder: Path, data: str | bytes, file: str = "answers.csv", **changes) -> Study:
    """Read a long table with a town beside each answer."""
    (folder / file).write_bytes(data if isinstance(data, bytes) else data.encode())
    base = StudySpec(
        responses=ResponsesSpec(path=file),
        scales={"rating": Ordinal(levels=(1, 2, 3, 4, 5))},
        folder=str(folder),
        participants=ParticipantsSpec(profile=TOWN),
    )
    return read_study(msgspec.structs.replace(base, **changes))


def is_good(folder: Path, data: str | bytes, file: str = "answers.csv", **changes) -> None:
    """The data hold the same study as GOOD."""
    study = read(folder, data, file, **changes)
    assert fingerprint(study) == fingerprint(read(folder, GOOD, "good.csv"))


def refused(
    folder: Path, data: str | bytes, says: str, file: str = "answers.csv", **changes
) -> None:
    with pytest.raises(CrowdError) as error:
        read(folder, data, file, **changes)
    assert file in str(error.value)
    assert says in str(error.value), error.value


def utf8(folder):
    is_good(folder, codecs.BOM_UTF8 + GOOD.encode())


def utf16(folder):
    for encoding in ("utf-16", "utf-32"):
        is_good(folder, GOOD.encode(encoding))
    is_good(folder, codecs.BOM_UTF16_BE + GOOD.encode("utf-16-be"))


def utf16_without_mark(folder):
    for encoding in ("utf-16-le", "utf-16-be"):
        refused(folder, GOOD.encode(encoding), f"study.encoding: {encoding}")
        is_good(folder, GOOD.encode(encoding), encoding=encoding)


def other_encoding(folder):
    refused(folder, GOOD.encode("cp1252"), "is not UTF-8 (line 2, byte 0xEB); save it")
    refused(folder, GOOD.encode("cp1252"), "study.encoding: cp1252")
    for name in ("cp1252", "latin-1", "Windows-1252"):
        is_good(folder, GOOD.encode("cp1252"), encoding=name)
    is_good(folder, codecs.BOM_UTF8 + GOOD.encode(), encoding="cp1252")
    with pytest.warns(CrowdWarning, match="valid UTF-8"):
        read(folder, GOOD, encoding="cp1252")
    refused(folder, GOOD.encode() + b"\xc3", "ends within a character")


def other_delimiter(folder):
    for delimiter, as_yaml in ((";", "';'"), ("\t", '"\\t"'), ("|", "'|'")):
        data = GOOD.replace(",", delimiter)
        refused(folder, data, f"set study.delimiter: {as_yaml}")
        is_good(folder, data, delimiter=delimiter)
    is_good(folder, GOOD.replace(",", "\t"), delimiter="\\t")
    # Also where a name holds a comma.
    data = GOOD.replace(",", ";").replace("response", '"response, of 5"')
    refused(
        folder,
        data,
        "study.delimiter: ';'",
        responses=ResponsesSpec(path="answers.csv", response="response, of 5"),
    )


def sep_line(folder):
    for delimiter in ";\t":
        data = f"sep={delimiter}\r\n" + GOOD.replace(",", delimiter)
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            is_good(folder, data.encode(encoding))
            is_good(folder, data.encode(encoding), delimiter="|")


def decimal_comma(folder):
    data = "participant;task;response\na;q1;3,5\na;q2;1,234\nb;q1;-,5e1\nb;q2;7\n"
    changes = {
        "participants": ParticipantsSpec(),
        "delimiter": ";",
        "scales": {"price": Continuous(low=-10, high=10)},
    }
    refused(folder, data, "study.decimal: ','", **changes)
    assert read(folder, data, **changes, decimal=",").value.tolist() == [3.5, 1.234, -5, 7]
    # 1.234 may be a thousand or a little more than one.
    refused(folder, data.replace("7", "1.234"), "'1.234' (row 5)", **changes, decimal=",")
    of_scale = {"scales": {"r": Ordinal(levels=(1, 1.5, 2))}, "decimal": ","}
    study = read(folder, "participant;task;response\na;q1;1,5\na;q2;1.5\n", **changes | of_scale)
    assert study.answer.tolist() == [1, 1]
    with pytest.raises(CrowdError, match="already stands between the cells"):
        read(folder, data, **changes | {"delimiter": ","}, decimal=",")


def line_ends(folder):
    for end in ("\r\n", "\r"):
        is_good(folder, GOOD.replace("\n", end))


def blank_lines(folder):
    is_good(folder, "\n" + GOOD.replace("\n", "\n\n"))
    refused(folder, "\n\n" + GOOD.replace(",4,", ",6,"), "'6' (row 5)")


def ragged(folder):
    refused(folder, GOOD + "Eve,q1\n", "row 6 has 2 cells, the header 4")
    refused(folder, GOOD + "Eve,q1,1,Rome, Italy\n", "has 5 cells")


def doubled_quotes(folder):
    study = read(folder, 'participant,task,response\n"a ""b"" c","q,1",1\n', participants=NOBODY)
    assert study.participants.ids == ('a "b" c',)
    assert study.tasks.ids == ("q,1",)


def backslashes(folder):
    study = read(
        folder, 'participant,task,response\n"a, \\"b\\" \\\\ c",\\N,1\n', participants=NOBODY
    )
    assert study.participants.ids == ('a, "b" \\ c',)
    assert study.tasks.ids == ("\\N",)
    # The same bytes before a delimiter make sense in the usual way.
    study = read(folder, 'participant,task,response\n"C:\\",q,1\n"D:\\",q,1\n', participants=NOBODY)
    assert study.participants.ids == ("C:\\", "D:\\")


def stray_quote(folder):
    refused(folder, GOOD + '"Eve "the" cat",q1,1,Rome\n', "row 6: a quote")
    refused(folder, GOOD + '"Eve,q1,1,Rome\n', "row 6: a quote")
    # Amid an unquoted cell a quote is a character like any other.
    study = read(folder, GOOD + 'Eve 5" tall,q1,1,Rome\n')
    assert 'Eve 5" tall' in study.participants.ids


def quotes_between_tabs(folder):
    tabs = GOOD.replace(",", "\t")
    study = read(folder, tabs + '"Eve\tq1\t1\tRome\nAl "x" B\tq1\t1\t"Rome\n', delimiter="\t")
    assert {'"Eve', 'Al "x" B'} < set(study.participants.ids)
    # A header within quotes, or a doubled one, tells that cells are quoted.
    quoted = tabs.replace("participant", '"participant"')
    refused(folder, quoted + '"Eve\tq1\t1\tRome\n', "row 6: a quote", delimiter="\t")
    doubled = tabs + '"E ""x"" v"\tq1\t1\tRome\n"Bo\tq1\t1\tRome\n'
    refused(folder, doubled, "row 7: a quote", delimiter="\t")


def long_cells(folder):
    lines = GOOD.splitlines()
    picture = "A" * 3_000_000
    cells = ["picture", *['"two\nlines"', picture] * 2]
    with_pictures = "\n".join(f"{a},{b}" for a, b in zip(lines, cells, strict=True))
    is_good(folder, with_pictures + "\n")
    study = read(
        folder,
        with_pictures,
        tasks=TasksSpec(),
        participants=ParticipantsSpec(profile=TOWN),
        responses=ResponsesSpec(path="answers.csv", task="picture"),
    )
    assert study.tasks.ids == (picture, "two lines")


def other_columns(folder):
    lines = GOOD.splitlines()
    is_good(folder, "\n".join(line + f',"x, {i}",\ufeff' for i, line in enumerate(lines)))
    bad = b"\n".join(line.encode() + b",\xff" for line in lines)
    is_good(folder, bad)


def twice_named(folder):
    is_good(folder, "\n".join(line + ",note,note,," for line in GOOD.splitlines()))
    refused(folder, GOOD.replace("town", " response"), "column 'response' stands there twice")


def empty_file(folder):
    refused(folder, "", "is empty")
    refused(folder, GOOD.splitlines()[0] + "\n", "has a header but no rows")


def as_parquet(folder: Path, file: str = "answers.parquet") -> bytes:
    header, *rows = (line.split(",") for line in GOOD.splitlines())
    table = pa.table(dict(zip(header, map(list, zip(*rows, strict=True)), strict=True)))
    pq.write_table(table, folder / file)
    return (folder / file).read_bytes()


def parquet(folder):
    for file in ("answers.parquet", "answers.csv", "answers"):
        is_good(folder, as_parquet(folder), file)


def compressed(folder):
    import gzip

    is_good(folder, gzip.compress(GOOD.encode()), "answers.csv.gz")
    is_good(folder, gzip.compress(as_parquet(folder)))  # the name does not matter


def called_parquet(folder):
    refused(
        folder,
        GOOD,
        "is no Parquet file; a CSV needs another name, such as answers.csv",
        "answers.parquet",
    )


def other_formats(folder):
    import pandas

    frame = pandas.DataFrame({"participant": ["a"], "task": ["q"], "response": [1]})
    frame.to_stata(folder / "new.dta", version=118, write_index=False)
    frame.to_stata(folder / "old.dta", version=114, write_index=False)
    frame.to_feather(folder / "t.feather")
    frame.to_json(folder / "t.json", orient="records")
    frame.to_pickle(folder / "t.pkl")
    with zipfile.ZipFile(folder / "t.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with zipfile.ZipFile(folder / "t.zip", "w") as archive:
        archive.writestr("answers.csv", GOOD)
        archive.writestr("people.csv", GOOD)
    (folder / "t.tar").write_bytes(bytes(257) + b"ustar" + bytes(300))
    # As R's saveRDS writes it: packed, a format, a version.
    import gzip

    (folder / "t.rds").write_bytes(gzip.compress(b"X\n\0\0\0\x03" + bytes(20)))
    (folder / "t.xls").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512))
    (folder / "t.sav").write_bytes(b"$FL2@(#) SPSS DATA FILE" + bytes(100))
    (folder / "t.html").write_text("<!DOCTYPE html>\n<p>Not found")
    (folder / "table.xls").write_text("<table><tr><td>participant</td></tr></table>")
    told = {
        "new.dta": "is a Stata file; write it as CSV, such as pandas.read_stata('{}').to_csv('",
        "old.dta": "is a Stata file",
        "t.feather": "an Arrow (Feather) file",
        "t.json": "is JSON",
        "t.pkl": "is no text",
        "t.xlsx": "is an Excel workbook; save it there as 'CSV UTF-8', or write it as CSV",
        "t.zip": "is a ZIP archive that holds several files (answers.csv, people.csv); unpack it",
        "t.tar": "is a tar archive; unpack it",
        "t.rds": 'write.csv(readRDS("{}"), "t.csv", row.names = FALSE)',
        "t.xls": "is an Excel workbook of before 2007",
        "t.sav": "is an SPSS file; write it as CSV, such as pandas.read_spss('{}')",
        "t.html": "is a web page",
        "table.xls": "is a web page",
    }
    for file, says in told.items():
        data = (folder / file).read_bytes()
        refused(folder, data, says.format(file), file)
        # The name does not matter.
        refused(folder, data, says.format("answers.csv").split(".to_csv")[0].split(', "t')[0])


WIDE = """\
StartDate,ResponseId,Q1_1,Q1_2,town
{}2024-05-01,R_1,3,4,Rome
2024-05-01,R_2,1,2,Paris
"""
HEADINGS = """\
Start Date,Response ID,"How much? - Taxes","How much? - Buses",Where?
"{""ImportId"":""startDate""}","{""ImportId"":""_recordId""}","{""ImportId"":""QID1_1""}",\
"{""ImportId"":""QID1_2""}","{""ImportId"":""QID2_TEXT""}"
"""


def melted(folder: Path, data: str) -> None:
    """The message's own code makes a table that is read."""
    import pandas

    who = ResponsesSpec(path="answers.csv", participant="ResponseId")
    with pytest.raises(CrowdError) as error:
        read(folder, data, responses=who)
    told = str(error.value)
    assert "no column 'task'" in told
    assert "one row per answer" in told
    code = re.search(r"pandas\.(.*?index=False\))", told).group(1)
    code = code.replace("value_name", "value_vars=['Q1_1', 'Q1_2'], value_name")
    code = code.replace("answers", f"{folder}/answers")
    eval(f"pandas.{code}", {"pandas": pandas})
    study = read(folder, (folder / "answers-long.csv").read_text(), responses=who)
    assert study.tasks.ids == ("Q1_1", "Q1_2")
    assert study.value.tolist() == [3, 4, 1, 2]


def wide(folder):
    melted(folder, WIDE.format(""))


def several_headings(folder):
    melted(folder, WIDE.format(HEADINGS))
    refused(
        folder,
        WIDE.format(HEADINGS),
        "rows 2 to 3 hold headings",
        responses=ResponsesSpec(
            path="answers.csv", participant="ResponseId", task="StartDate", response="Q1_1"
        ),
    )
    refused(folder, GOOD.replace("town\n", "town\nWho?,What?,How?,Where?\n"), "one row of headings")


def blanks_around(folder):
    for blank in (" ", "\t", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u2009 "):
        padded = "\n".join(
            ",".join(f"{blank}{cell}{blank}" for cell in line.split(","))
            for line in GOOD.splitlines()
        )
        is_good(folder, padded)


def blanks_within(folder):
    for blank in ("  ", "\u00a0", "\u2009", " \u200b "):
        is_good(folder, GOOD.replace("New York", f"New{blank}York"))
    is_good(folder, GOOD.replace("New York", '"New\nYork"', 1))
    text = "Is it\u00a0so?\n\nSay  yes"
    study = read(
        folder,
        f'participant,task,response,text\na,q1,1," {text} "\n',
        participants=NOBODY,
        tasks=TasksSpec(text="text"),
    )
    assert study.tasks.text == (text,)


def accents(folder):
    import unicodedata

    is_good(folder, unicodedata.normalize("NFD", GOOD))
    is_good(folder, GOOD.replace("Zoë", unicodedata.normalize("NFD", "Zoë"), 1))


def unseen(folder):
    for sign in "\u200b\u00ad\u200e\ufeff\u2060":
        is_good(folder, GOOD.replace("New York", f"N{sign}ew York", 1))
    family = "\U0001f469\u200d\U0001f467"
    study = read(folder, GOOD.replace("New York", family))
    assert family in study.participants.profile[0].levels


def look_alike(folder):
    study = read(folder, GOOD + "zoë,q1,1,new york\nEve,q1,2,don't\nPia,q1,2,don’t\n")
    told = describe(study)
    assert "look alike    participants: 'Zoë' and 'zoë'; make them one" in told
    assert "look alike    town: 'New York' and 'new york', 'don't' and 'don’t'" in told
    assert "look alike" not in describe(read(folder, GOOD))
    write_table(folder / "people.csv", {"participant": ["zoë", "Bob"], "town": ["a", "b"]})
    refused(
        folder,
        GOOD,
        "'Zoë' (row 2, 3) is not in people.csv; did you mean 'zoë'?",
        participants=ParticipantsSpec(path="people.csv", profile=TOWN),
    )


def ids(folder):
    names = ["007", "7", "1e3", "1000", "12345678901234567890", "12345678901234567891"]
    rows = "".join(f"{name},q1,1\n" for name in names)
    study = read(folder, "participant,task,response\n" + rows, participants=NOBODY)
    assert set(study.participants.ids) == set(names)


def empty_cells(folder):
    for cell in ("", " ", "\u00a0", '""', '" "'):
        study = read(folder, GOOD.replace("New York", cell))
        assert study.participants.profile[0].levels == ("Köln", "(missing)")
        assert read(folder, GOOD.replace("4,", f"{cell},")).missing == 1
    frame = {"participant": ["a", "b"], "task": ["q", "q"], "response": [1, 2], "town": ["x", None]}
    pq.write_table(pa.table(frame), folder / "t.parquet")
    study = read(folder, (folder / "t.parquet").read_bytes())
    assert study.participants.profile[0].levels == ("x", "(missing)")


def listed_codes(folder):
    study = read(folder, GOOD.replace("New York", "n/a"), missing=("n/a",))
    assert study.participants.profile[0].levels == ("Köln", "(missing)")


def unlisted_codes(folder):
    for code in ("NA", "NaN", "null", "-", "None"):
        study = read(folder, GOOD.replace("New York", code))
        assert code in study.participants.profile[0].levels
        refused(folder, GOOD.replace("4,", f"{code},"), f"'{code}' (row 5) is no answer")
        numeric = ParticipantsSpec(profile={"town": "numeric"})
        refused(
            folder,
            GOOD.replace("New York", code).replace("Köln", "3"),
            f"'{code}' (row 4, 5) is no finite number",
            participants=numeric,
        )


def typed_parquet(folder):
    frame = {
        "participant": [1.0, 2.0],
        "task": [True, False],
        "response": [1.0, 2.0],
        "town": [0.5, 1.0],
    }
    pq.write_table(pa.table(frame), folder / "t.parquet")
    study = read(folder, (folder / "t.parquet").read_bytes())
    assert study.participants.ids == ("1", "2")
    assert study.tasks.ids == ("0", "1")


def dates(folder):
    for cells in (pa.array([0], pa.date32()), pa.array([[1]])):
        frame = {"participant": ["a"], "task": ["q"], "response": [1], "town": cells}
        pq.write_table(pa.table(frame), folder / "t.parquet")
        refused(folder, (folder / "t.parquet").read_bytes(), "column 'town': holds")


def no_numbers(folder):
    numeric = ParticipantsSpec(profile={"town": "numeric"})
    for text in ("inf", "nan", "1e999"):
        refused(
            folder,
            GOOD.replace("New York", text).replace("Köln", "3"),
            "no finite number",
            participants=numeric,
        )


def no_id(folder):
    refused(folder, GOOD.replace("Bob,q2", ",q2"), "column 'participant': no id in row 5")
    refused(folder, GOOD.replace("Bob,q2", "Bob, "), "column 'task': no id in row 5")
    refused(folder, GOOD, "('Bob' counts as missing", missing=("Bob",))


def no_answer(folder):
    study = read(folder, GOOD.replace(",4,", ",,"))
    assert len(study.answer) == 3
    assert "1 cells left empty" in describe(study)


def no_attribute(folder):
    study = read(folder, GOOD.replace("Köln", ""))
    assert study.participants.profile[0].levels == ("New York", "(missing)")
    numeric = ParticipantsSpec(profile={"town": "numeric"})
    study = read(folder, GOOD.replace("Köln", "").replace("New York", "3"), participants=numeric)
    assert "town: numeric, 3 to 3; 1 missing" in describe(study)


def no_weight(folder):
    weighted = ParticipantsSpec(weight="town")
    for weight in ("", "-1"):
        data = GOOD.replace("Köln", weight).replace("New York", "3")
        refused(folder, data, "has no weight, or one below 0", participants=weighted)


def off_scale(folder):
    refused(folder, GOOD.replace(",4,", ",6,"), "'6' (row 5) is no answer on scale 'rating'")


def answered_twice(folder):
    refused(folder, GOOD + "Bob\u00a0,q1,3,New York\n", "'Bob' answers task 'q1' twice (row 4, 6")


def differing_rows(folder):
    refused(folder, GOOD.replace("New York", "Rome", 1), "'Rome' in row 4 but 'New York' in row 5")


def in_own_table(folder: Path, ids: list[str]) -> ParticipantsSpec:
    write_table(folder / "people.csv", {"participant": ids, "town": ["x"] * len(ids)})
    return ParticipantsSpec(path="people.csv", profile=TOWN)


def repeated_id(folder):
    people = in_own_table(folder, ["Zoë", "Bob", " Bob"])
    with pytest.raises(CrowdError, match=r"people.csv: .* id 'Bob' stands in row 3, 4"):
        read(folder, GOOD, participants=people)


def not_in_table(folder):
    refused(
        folder,
        GOOD,
        "'Bob' (row 4, 5) is not in people.csv",
        participants=in_own_table(folder, ["Zoë"]),
    )


NOBODY = ParticipantsSpec()
TOLD: dict[str, Callable[[Path], None]] = {
    "UTF-8, with or without a byte order mark": utf8,
    "UTF-16 or UTF-32 with a byte order mark": utf16,
    "UTF-16 without a byte order mark": utf16_without_mark,
    "another encoding": other_encoding,
    "cells separated by semicolons, tabs or bars": other_delimiter,
    "a first line `sep=;`": sep_line,
    "decimals after a comma": decimal_comma,
    "line ends": line_ends,
    "blank lines": blank_lines,
    "a row with fewer or more cells": ragged,
    "quotes within a quoted cell, doubled": doubled_quotes,
    "quotes within a quoted cell after a backslash": backslashes,
    "a quote amid a quoted cell": stray_quote,
    "the same between tabs": quotes_between_tabs,
    "cells of several lines": long_cells,
    "columns that the study does not name": other_columns,
    "two columns of one name": twice_named,
    "an empty file": empty_file,
    "Parquet, whatever the file is called": parquet,
    "compressed tables": compressed,
    "text in a file called .parquet": called_parquet,
    "another format": other_formats,
    "a column per question": wide,
    "Qualtrics' three rows of headings": several_headings,
    "blanks of any kind around": blanks_around,
    "runs of blanks": blanks_within,
    "accents as one character or two": accents,
    "zero-width characters": unseen,
    "names that differ by case": look_alike,
    "ids such as": ids,
    "an empty cell": empty_cells,
    "a code under `missing`": listed_codes,
    "NA, NaN, null": unlisted_codes,
    "whole numbers that Parquet holds": typed_parquet,
    "dates, lists": dates,
    "inf, nan, 1e999": no_numbers,
    "a missing id": no_id,
    "a missing answer": no_answer,
    "a missing profile cell": no_attribute,
    "a weight that is missing": no_weight,
    "an answer off its scale": off_scale,
    "the same person answering a task twice": answered_twice,
    "rows of one person": differing_rows,
    "an id that stands twice": repeated_id,
    "a person or task that is not in its table": not_in_table,
}
ELSEWHERE = (
    "1.234 beside 950",
    "a code or a label as an answer",
    "projects left out of a ballot",
    "a task that nobody answers",
    "people and tasks that the study does not have",
    "a cell that is neither an answer nor a number on the task's scale",
)
"""Tested below, and where scales, ballots, witnesses and the check of a study are."""


@pytest.mark.parametrize("row", TOLD)
def test_a_row_of_the_table(row, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", CrowdWarning)
        TOLD[row](tmp_path)


def test_thousands_are_not_taken_for_decimals(tmp_path):
    data = GOOD.replace(",1,", ',"1,200",')
    refused(tmp_path, data, "if the comma sets thousands apart, write all numbers without it")


@pytest.mark.parametrize(
    ("prices", "decimal", "warns"),
    [
        (("1.234", "950", "10.000"), ".", True),
        (("1,234", "950", "10,000"), ",", True),
        (("1.234", "950", "10.5"), ".", False),
        (("1.234", "1950", "10.000"), ".", False),
        (("1.234", "0.950", "10.000"), ".", False),
        (("1.234", "3.950", "10.000"), ".", False),
    ],
)
def test_numbers_that_may_be_thousands_are_told(tmp_path, prices, decimal, warns):
    rows = "".join(f"{who};q;{price};{price}\n" for who, price in zip("abc", prices, strict=True))
    data = "participant;task;response;town\n" + rows
    changes = {
        "scales": {"p": Continuous(low=0, high=9000)},
        "participants": ParticipantsSpec(profile={"town": "numeric"}),
    }
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        study = read(tmp_path, data, **changes, delimiter=";", decimal=decimal)
    assert study.value[0] == 1.234
    columns = [str(one.message).split("'")[1] for one in told if "thousands" in str(one.message)]
    assert sorted(columns) == (["response", "town"] if warns else [])


def test_a_cell_that_says_missing_is_missing(tmp_path):
    """As populations, counts and expected answers write it."""
    data = GOOD.replace("Köln", "(missing)")
    town = read(tmp_path, data).participants.profile[0]
    assert town.levels == ("New York", "(missing)")
    assert town.cells.tolist() == [0, 1]  # Bob and Zoë


def test_an_answer_that_differs_by_case_is_met_with_the_level(tmp_path):
    agree = {"scales": {"r": Binary(levels=("no", "yes"))}}
    data = "participant,task,response,town\na,q,yes,X\nb,q,No,X\n"
    refused(tmp_path, data, "did you mean 'no'?", **agree)


def test_booleans_of_a_text_file_are_labels(tmp_path):
    """The remedy that is told, followed to the letter."""
    data = "participant,task,response,town\na,q,True,X\nb,q,False,X\n"
    refused(tmp_path, data, 'labels: ["False", "True"]', scales={"r": Binary()})
    told = Binary(labels=("False", "True"))
    assert read(tmp_path, data, scales={"r": told}).value.tolist() == [1, 0]


def test_every_row_of_the_table_is_tested():
    page = (Path(__file__).parents[2] / "docs" / "study.md").read_text()
    table = page.split("| in the file |")[1].split("\n\n")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    told = [row for row in rows if not row.startswith("**")]
    for row in told:
        assert sum(row.startswith(known) for known in (*TOLD, *ELSEWHERE)) == 1, row
    assert len(told) == len(TOLD) + len(ELSEWHERE)


def test_a_study_file_of_another_folder_says_how_paths_are_found(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "answers.csv").write_text(GOOD)
    path = tmp_path / "mine" / "study.yaml"
    path.write_text(
        "responses: {path: answers.csv}\nscales: {r: {kind: ordinal, levels: [1, 2, 3, 4, 5]}}\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CrowdError) as error:
        load_study(path)
    for word in ("answers.csv: no such file", "study.folder ('.')", "--data", str(tmp_path)):
        assert word in str(error.value)
    assert len(load_study(path, data="mine").answer) == 4
