"""A user's later tables are read as the study's own: its codes of no answer, its way to write."""

import warnings
from pathlib import Path

import msgspec
import numpy as np
import pytest

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.study.option_tables import read_choices
from crowdllm_jax.study.question_tables import (
    read_attributes,
    read_few_answers,
    read_questions,
)
from crowdllm_jax.study.questions import Questions, questions_on
from crowdllm_jax.study.spec import StudySpec

SPEC = """
responses: {path: r.csv, task: item, response: ans, missing: {pct: [99], lik: [9]}}
tasks:
  task: item
  text: review
  scale: fmt
  attributes: {len: numeric, topic: categorical}
  missing: {len: [-9], topic: [none], review: [x]}
alternatives: {path: o.csv, task: item, attributes: {price: numeric}, missing: [-1]}
scales:
  pct: {kind: continuous, low: 0, high: 100}
  lik: {kind: ordinal, levels: [1, 2, 3, 4, 5, 9]}
  choice: {kind: nominal, levels: [A, B, none]}
"""


def spec(**changes: object) -> StudySpec:
    read = msgspec.yaml.decode(SPEC, type=StudySpec)
    return msgspec.structs.replace(read, **changes)


def asked(*wanted: str) -> Questions:
    """Questions a, b, ... on scales of the study."""
    ids, known = "abc"[: len(wanted)], spec().scales
    return questions_on(ids, ids, wanted, known, list(known))


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_a_code_of_no_attribute_is_an_empty_cell(tmp_path):
    rows = "item,len,topic\na,-9,none\nb,3,sport\n"
    coded = read_attributes(written(tmp_path, rows), spec(), ("a", "b"))
    emptied = rows.replace("-9", "").replace("none", "")
    empty = read_attributes(written(tmp_path, emptied), spec(), ("a", "b"))
    for one, other in zip(coded, empty, strict=True):
        assert one.levels == other.levels
        np.testing.assert_array_equal(one.cells, other.cells)
    assert np.isnan(coded[0].cells[0])
    with pytest.raises(CrowdError, match=r"column 'len': every cell is empty \(or listed"):
        read_attributes(written(tmp_path, "item,len,topic\na,-9,x\n"), spec(), ("a",))


def test_a_code_of_no_text_is_an_empty_cell(tmp_path):
    """Whatever the user's column is called."""
    for name in ("review", "text"):
        path = written(tmp_path, f"item,{name},scale\na,x,lik\nb,Is it?,lik\n")
        questions = read_questions(path, spec(), spec().scales, ["lik"])
        assert questions.text == ("a", "Is it?")


def test_codes_of_no_answer_are_those_of_the_scale(tmp_path):
    """9 is among the answers in percent, 99 is not."""
    path = written(tmp_path, "item,ans\na,99\na,9\na,40\nb,9\nb,4\nb,9.0\n")
    few = read_few_answers(path, spec(), asked("pct", "lik"))
    assert few["a"].answer.tolist() == [9, 40]
    assert few["b"].answer.tolist() == [3]
    with pytest.raises(CrowdError, match=r"'99' \(row 3\) is no answer to 'a'"):
        read_few_answers(written(tmp_path, "ans\n5\n99\n"), spec(), asked("lik"))


def test_answers_all_of_which_are_listed_are_none(tmp_path):
    path = written(tmp_path, "item,ans\na,99\nb,9\n")
    told = r"column 'ans': no row holds an answer \('99', '9' counts as missing: study.responses"
    with pytest.raises(CrowdError, match=told):
        read_few_answers(path, spec(), asked("pct", "lik"))
    with pytest.raises(CrowdError, match=r"no row holds an answer$"):
        read_few_answers(written(tmp_path, "item,ans\na,\n"), spec(), asked("pct"))


def test_a_code_for_all_scales_that_is_an_answer_is_warned_of_once(tmp_path):
    responses = msgspec.structs.replace(spec().responses, missing=(9,))
    path = written(tmp_path, "ans\n9\n9\n5\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CrowdWarning)
        few = read_few_answers(path, spec(responses=responses), asked("lik"))
    assert few["a"].answer.tolist() == [4]
    assert [str(one.message).count("on scale 'lik' it is one") for one in caught] == [1]


DIALECTS = [(";", ","), ("\t", "."), ("|", ","), (",", ".")]


def in_dialect(text: str, delimiter: str, decimal: str) -> str:
    """A table that is written here with commas and points."""
    return text.replace(",", "\0").replace(".", decimal).replace("\0", delimiter)


@pytest.mark.parametrize(("delimiter", "decimal"), DIALECTS)
def test_tables_are_read_in_the_studys_dialect(tmp_path, delimiter, decimal):
    own = spec(delimiter=delimiter, decimal=decimal)

    def table(text: str) -> Path:
        return written(tmp_path, in_dialect(text, delimiter, decimal))

    questions = read_questions(table("item,review,fmt\na,Is it?,lik\n"), own, own.scales, ["lik"])
    assert (questions.ids, questions.text) == (("a",), ("Is it?",))
    (length, _) = read_attributes(table("item,len,topic\na,2.5,sport\n"), own, ("a",))
    assert length.cells.tolist() == [2.5]
    few = read_few_answers(
        table("item,ans,people\na,12.5,1.5\na,99,2\nb,4,3\n"), own, asked("pct", "lik")
    )
    assert few["a"].answer.tolist() == [12.5]
    assert few["a"].people.tolist() == [1.5]
    assert few["b"].answer.tolist() == [3]
    choices = table("item,level,price\nm,Nova,9.5\nm,Zip,-1\nm,none,\n")
    chosen = read_choices(choices, [], own, own.scales, ["choice"])
    assert chosen.alternatives.attributes[0].cells.tolist() == [9.5]


@pytest.mark.parametrize("decimal", [".", ","])
def test_a_table_in_another_dialect_is_refused_with_the_sign(tmp_path, decimal):
    """As a study's own table is, but that a fitted run's study cannot be told otherwise."""
    own = spec(delimiter=";", decimal=decimal)
    told = "the file is separated by commas; save it with semicolons between the cells"
    with pytest.raises(CrowdError, match=told):
        read_questions(written(tmp_path, "item,fmt\na,lik\n"), own, own.scales, ["lik"])
    with pytest.raises(CrowdError, match=told):
        read_attributes(written(tmp_path, "item,len,topic\na,3,x\n"), own, ("a",))
    with pytest.raises(CrowdError, match=told):
        read_few_answers(written(tmp_path, "item,ans\na,3\n"), own, asked("lik"))
    path = written(tmp_path, "item,level,price\nm,Nova,9\nm,Zip,8\n")
    with pytest.raises(CrowdError, match=told):
        read_choices(path, [], own, own.scales, ["choice"])
    plain = "the file is separated by semicolons; save it with commas between the cells"
    with pytest.raises(CrowdError, match=plain):
        read_few_answers(written(tmp_path, "item;ans\na;3\n"), spec(), asked("lik"))


def test_an_option_that_stands_twice_is_told_before_how_many_there_are(tmp_path):
    for more in ("", "m,Zip,3\n"):
        path = written(tmp_path, f"item,level,price\nk,X,1\nk,Y,2\nm,Nova,1\nm,Nova,2\n{more}")
        told = r"option 'Nova' of choice 'm' stands twice \(row 4, 5\); keep one"
        with pytest.raises(CrowdError, match=told):
            read_choices(path, [], spec(), spec().scales, ["choice"])


def test_questions_stand_in_the_order_of_their_table(tmp_path):
    path = written(tmp_path, "item,fmt,len,topic\nz9,lik,1,x\na,lik,2,y\nz10,pct,3,x\n")
    questions = read_questions(path, spec(), spec().scales, ["lik", "pct"])
    assert questions.ids == ("z9", "a", "z10")
    assert [questions.task_scales[i] == spec().scales["pct"] for i in range(3)] == [False] * 2 + [
        True
    ]
    length, _ = read_attributes(path, spec(), questions.ids)
    assert length.cells.tolist() == [1, 2, 3]
    choices = written(tmp_path, "item,level,price\nm,A,9\nm,B,8\nb,A,7\nb,B,6\n")
    chosen = read_choices(choices, [], spec(), spec().scales, ["choice"])
    assert chosen.ids == ("m", "b")
    assert chosen.alternatives.task.tolist() == [0, 0, 1, 1]


def test_rows_of_one_question_agree_on_it(tmp_path):
    """As where a model's answers stand in a row each."""
    rows = (
        "item,review,fmt,answer\nb,Is it?,lik,1\nb,Is it?,lik,2\na,Was it?,pct,\nb,Is it?,lik,3\n"
    )
    questions = read_questions(written(tmp_path, rows), spec(), spec().scales, ["lik", "pct"])
    assert (questions.ids, questions.text) == (("b", "a"), ("Is it?", "Was it?"))
    odd = {
        r"'review': question 'b' has 'Is it\?' in row 2 but 'No\?' in row 3": (
            "Is it?,lik,2",
            "No?,lik,2",
        ),
        r"'fmt': question 'b' has 'lik' in row 2 but '' in row 5": ("lik,3", ",3"),
    }
    for told, changed in odd.items():
        path = written(tmp_path, rows.replace(*changed))
        with pytest.raises(CrowdError, match=told):
            read_questions(path, spec(), spec().scales, ["lik", "pct"])
    path = written(tmp_path, "item,len,topic\nb,1,x\nb,2,x\n")
    with pytest.raises(CrowdError, match="'len': task 'b' has '1' in row 2 but '2' in row 3"):
        read_attributes(path, spec(), ("b",))
