"""Options that are described: what a table says of them, and what it must not say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from phones import STUDY

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.study.alternatives import behind, codings_of, only_tasks, options_of
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.records import Study, fingerprint

ANSWERS = """person,set,choice
p1,s1,A
p1,s2,none
p2,s1,B
p2,s2,A
"""
OPTIONS = """set,option,price,brand
s1,A,10,Acme
s1,B,20,Bolt
s2,A,30,Bolt
s2,B,20,Core
"""
SCALES = {"choice": {"kind": "nominal", "levels": ["A", "B", "none"]}}


def read(folder: Path, options: str = OPTIONS, **changed: object) -> Study:
    (folder / "answers.csv").write_text(ANSWERS)
    (folder / "options.csv").write_text(options)
    content = {"study": STUDY | {"folder": str(folder), "scales": SCALES} | changed}
    (folder / "phones.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return load_study(load_config(folder / "phones.yaml"))


def test_options_are_read_as_they_stand(tmp_path):
    described = read(tmp_path).tasks.alternatives
    price, brand = described.attributes
    assert described.task.tolist() == [0, 0, 1, 1]
    assert described.level.tolist() == [0, 1, 0, 1]
    assert price.cells.tolist() == [10, 20, 30, 20]
    assert [brand.levels[cell] for cell in brand.cells] == ["Acme", "Bolt", "Bolt", "Core"]


def test_a_row_without_a_description_is_none(tmp_path):
    """Of an option that is what it is, such as "none of these", a table may have a row or not."""
    study = read(tmp_path)
    again = read(tmp_path, OPTIONS + "s1,none,,\ns2,none,,\n")
    assert fingerprint(again) == fingerprint(study)


def test_another_price_is_another_study(tmp_path):
    study = read(tmp_path)
    assert fingerprint(read(tmp_path, OPTIONS.replace("10", "11"))) != fingerprint(study)
    assert fingerprint(replace(study, tasks=replace(study.tasks))) == fingerprint(study)


def test_columns_are_those_of_known_options(tmp_path):
    """Numbers are standardised by the options of known tasks alone, others are 0 or 1 by level, and
    what is not described is 0."""
    described = read(tmp_path).tasks.alternatives
    codings = codings_of(described, np.array([True, False]))
    columns, told = options_of(described, codings, 2, 3)
    assert told.tolist() == [[True, True, False]] * 2
    assert columns.shape == (2, 3, 4)
    np.testing.assert_allclose(columns[0, :2, 0], [-1, 1])
    np.testing.assert_allclose(columns[1, :2, 0], [3, 1])
    np.testing.assert_array_equal(columns[0, :2, 1:], [[1, 0, 0], [0, 1, 0]])
    assert not columns[:, 2].any()


def test_new_options_stand_behind_the_known_ones(tmp_path):
    """In the levels of the known ones, however the new table orders its own."""
    known = read(tmp_path).tasks.alternatives
    new = only_tasks(known, np.array([False, True]))
    both = behind(known, replace(new, task=new.task - 1), 2, ["new"])
    assert both.task.tolist() == [0, 0, 1, 1, 2, 2]
    brand = both.attributes[1]
    assert [brand.levels[cell] for cell in brand.cells[4:]] == ["Bolt", "Core"]
    odd = replace(new.attributes[1], levels=("Acme", "Dyne", "Core"))
    with pytest.raises(CrowdError, match=r"Dyne, as second has; there are: Acme, Bolt, Core"):
        behind(known, replace(new, attributes=(new.attributes[0], odd)), 2, ["first", "second"])


def test_check_tells_what_describes_options(tmp_path):
    told = describe(read(tmp_path))
    assert "alternatives  4 options of 2 questions are described" in told
    assert "option has    price: numeric, 10 to 30" in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (OPTIONS.replace("s2,B", "s2,C"), r"options.csv: column 'option': 'C' \(row 5\) is no opt"),
        (OPTIONS.replace("s2,B", "s2,A"), r"'A' of task 's2' stands twice \(row 4, 5\)"),
        (OPTIONS.replace("s2,B,20,Core\n", ""), r"nothing is said of option 'B' of task 's2'"),
        (OPTIONS.replace("s2,A", "s3,A"), r"'s3' \(row 4\) is not in answers.csv; correct it"),
        (OPTIONS.replace("30", "dear"), r"column 'price': 'dear' \(row 4\) is no finite number"),
        (OPTIONS.replace("price", "cost"), r"options.csv: .*no column 'price'"),
        (OPTIONS.replace("s2,B", "s2,"), r"column 'option': row 5 is empty; name the option"),
        ("set,option,price,brand\ns1,A,,\ns1,B,,\n", "nothing is said of any option"),
        (
            "set,option,price,brand\ns1,A,1,X\ns1,B,2,X\ns2,A,3,X\ns2,B,4,X\n",
            "'brand': is the same",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, options, told):
    with pytest.raises(CrowdError, match=told):
        read(tmp_path, options)


def test_only_what_is_chosen_from_has_options(tmp_path):
    scales = {"choice": {"kind": "ordinal", "levels": ["A", "B", "none"]}}
    with pytest.raises(CrowdError, match=r"'s1' \(row 2\) has no options to choose among"):
        read(tmp_path, scales=scales)
