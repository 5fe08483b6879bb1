"""Codes of missing answers: for all columns, for a table's, for one column, for one scale."""

import warnings
from pathlib import Path

import msgspec
import numpy as np
import pytest

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.runs.config import load_study
from crowdllm_jax.study.records import Study

SURVEY = """\
who,q,a,form,children,age,gender
a,agree,4,five,9,99,woman
a,likely,9,ten,9,99,woman
b,agree,9,five,2,34,Prefer not to say
b,likely,99,ten,2,34,Prefer not to say
c,agree,2,five,12,50,9
c,likely,10,ten,12,50,9
"""
STUDY = """\
folder: {folder}
missing: {everywhere}
responses: {{path: survey.csv, participant: who, task: q, response: a, missing: {answers}}}
tasks: {{scale: form}}
participants:
  profile: {{children: numeric, age: numeric, gender: categorical}}
  missing: {people}
scales:
  five: {{kind: ordinal, levels: [1, 2, 3, 4, 5]}}
  ten: {{kind: ordinal, levels: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}}
"""


def read(folder: Path, everywhere: str = "[]", answers: str = "[]", people: str = "[]") -> Study:
    (folder / "survey.csv").write_text(SURVEY)
    text = STUDY.format(folder=folder, everywhere=everywhere, answers=answers, people=people)
    (folder / "study.yaml").write_text(text)
    return load_study(folder / "study.yaml")


def quietly(*arguments: Path | str) -> Study:
    with warnings.catch_warnings():
        warnings.simplefilter("error", CrowdWarning)
        return read(*arguments)


def told(*arguments: Path | str) -> tuple[Study, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CrowdWarning)
        study = read(*arguments)
    return study, [str(one.message) for one in caught if issubclass(one.category, CrowdWarning)]


def column(study: Study, name: str) -> list:
    found = next(a for a in study.participants.profile if a.name == name)
    if found.kind == "numeric":
        return [None if np.isnan(cell) else cell for cell in found.cells]
    return [found.levels[cell] for cell in found.cells]


def test_each_code_where_it_is_one(tmp_path):
    study = quietly(
        tmp_path, "[]", "{five: [9], ten: [99]}", '{age: [99], gender: ["Prefer not to say", "9"]}'
    )
    assert study.value.tolist() == [4, 9, 2, 10]
    assert study.missing == 2
    assert column(study, "children") == [9, 2, 12]
    assert column(study, "age") == [None, 34, 50]
    assert column(study, "gender") == ["woman", "(missing)", "(missing)"]


def test_one_list_for_all_warns_of_each_value_that_it_swallows(tmp_path):
    study, warned = told(tmp_path, '["9", 99]')
    assert study.value.tolist() == [4, 2, 10]
    assert column(study, "children") == [None, 2, 12]
    assert len(warned) == 2, warned
    scale, children = sorted(warned, key=lambda text: "children" in text)
    assert "column 'a': '9' counts as missing, but might be an answer (on scale 'ten'" in scale
    assert "study.responses.missing: {ten: [...]}" in scale
    assert "column 'children': '9' counts as missing" in children
    assert "the other values are 2 to 12" in children
    assert "study.participants.missing: {children: [...]}" in children


def test_a_list_of_one_table(tmp_path):
    """Codes of people do not touch the answers, and the other way round."""
    study = quietly(tmp_path, "[]", "{a: [99], five: [9]}", "[99]")
    assert study.value.tolist() == [4, 9, 2, 10]
    assert column(study, "age") == [None, 34, 50]
    assert column(study, "gender") == ["woman", "Prefer not to say", "9"]
    study, warned = told(tmp_path, "[]", "[9, 99]", "[]")
    assert study.value.tolist() == [4, 2, 10]
    assert column(study, "age") == [99, 34, 50]
    assert len(warned) == 1


def test_the_lists_add_up(tmp_path):
    study = quietly(tmp_path, '["Prefer not to say"]', "{a: [99], five: [9]}", '{gender: ["9"]}')
    assert column(study, "gender") == ["woman", "(missing)", "(missing)"]


@pytest.mark.parametrize(("code", "gone"), [("99", 2), ("99.0", 2), ('"99"', 1), ('"99.0"', 1)])
def test_a_number_stands_for_its_value_and_a_text_for_itself(tmp_path, code, gone):
    global_survey = "who,q,a,w\na,x,1,99\nb,x,2,99.0\nc,x,3,1\n"
    (tmp_path / "s.csv").write_text(global_survey)
    (tmp_path / "s.yaml").write_text(
        f"folder: {tmp_path}\nresponses: {{path: s.csv, participant: who, task: q, response: a}}\n"
        f"participants: {{profile: {{w: numeric}}, missing: {{w: [{code}]}}}}\n"
        "scales: {r: {kind: ordinal, levels: [1, 2, 3]}}\n"
    )
    study = load_study(tmp_path / "s.yaml")
    assert np.isnan(study.participants.profile[0].cells).sum() == gone


@pytest.mark.parametrize(
    ("code", "values", "plausible"),
    [
        (9, [0, 3, 12], True),  # among the others
        (9, [0, 3, 8], True),  # an eighth of their range beyond
        (99, [18, 60, 80], False),
        (99, [18, 60, 97], True),
        (-9, [0, 50, 100], False),  # negative where nothing is
        (-9, [-20, 0, 30], True),
        (0, [18, 60, 80], False),
        (999, [9, 9, 9], False),
    ],
)
def test_which_codes_may_be_values(tmp_path, code, values, plausible):
    rows = "".join(f"p{i},x,1,{value}\n" for i, value in enumerate([*values, code]))
    (tmp_path / "s.csv").write_text("participant,task,response,n\n" + rows)
    (tmp_path / "s.yaml").write_text(
        f"folder: {tmp_path}\nmissing: [{code}]\nresponses: {{path: s.csv}}\n"
        "participants: {profile: {n: numeric}}\nscales: {r: {kind: ordinal, levels: [1, 2, 3]}}\n"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CrowdWarning)
        load_study(tmp_path / "s.yaml")
    assert bool(caught) == plausible


def test_a_listed_level_of_an_ordinal_attribute_is_told(tmp_path):
    (tmp_path / "s.csv").write_text("participant,task,response,n\na,x,1,9\nb,x,1,1\n")
    (tmp_path / "s.yaml").write_text(
        f"folder: {tmp_path}\nmissing: [9]\nresponses: {{path: s.csv}}\n"
        "participants: {profile: {n: {kind: ordinal, levels: [1, 5, 9]}}}\n"
        "scales: {r: {kind: ordinal, levels: [1, 2, 3]}}\n"
    )
    with pytest.warns(CrowdWarning, match="'9' counts as missing, .*it is a level of 'n'"):
        load_study(tmp_path / "s.yaml")


def test_a_list_of_something_that_is_not_there(tmp_path):
    with pytest.raises(CrowdError, match=r"study.responses.missing.b: .* column or scale"):
        read(tmp_path, "[]", "{b: [9]}")
    with pytest.raises(CrowdError, match=r"study.participants.missing.a: .* no such column"):
        read(tmp_path, "[]", "[]", "{a: [9]}")
    with pytest.raises(CrowdError, match="missing"):
        read(tmp_path, "9")


def test_the_lists_are_kept_with_a_run(tmp_path):
    from crowdllm_jax.runs.config import Config, dump_config, load_config
    from crowdllm_jax.study.spec import ResponsesSpec, StudySpec

    spec = StudySpec(responses=ResponsesSpec(path="x", missing={"a": (9, "NA")}), scales={})
    (tmp_path / "c.yaml").write_text(dump_config(Config(study=spec)))
    assert msgspec.to_builtins(load_config(tmp_path / "c.yaml").study) == msgspec.to_builtins(spec)
