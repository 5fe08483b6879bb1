"""Attributes called as columns of the product's own files keep their place, under another name."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import make_study

from crowdllm_jax.aggregate.decide import decide
from crowdllm_jax.explore.data import _read_profiles
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.count import count
from crowdllm_jax.population.read import read_manifest
from crowdllm_jax.population.sample import sample
from crowdllm_jax.population.write import write_population
from crowdllm_jax.population.write_counts import write_counts
from crowdllm_jax.study.columns import OWN, attribute_columns
from crowdllm_jax.study.describe import describe

NAMES = ("agent_id", "TASK_ID", "decision", "count", "Share", "participant")


def renamed(crowd: Crowd, name: str) -> Crowd:
    """The same crowd, the city of whose people is called otherwise."""
    age, city = crowd.generator.attributes
    attributes = (age, dataclasses.replace(city, name=name))
    generator = dataclasses.replace(crowd.generator, attributes=attributes)
    codings = tuple(
        dataclasses.replace(coding, name=name) if coding.name == "city" else coding
        for coding in crowd.codings
    )
    return dataclasses.replace(crowd, generator=generator, codings=codings)


@given(
    st.lists(st.sampled_from([*NAMES, "age", "Age", "profile_share", "profile_Share"]), unique=True)
)
def test_no_column_is_called_as_another(names):
    columns = list(attribute_columns(names).values())
    folded = [column.casefold() for column in columns]
    assert len(set(folded)) == len(folded)
    assert not OWN & set(folded)
    for name, column in attribute_columns(names).items():
        assert column.endswith(name)
    if len({name.casefold() for name in names} | OWN) == len(names) + len(OWN):
        assert columns == names, "no name is changed needlessly"


@pytest.mark.parametrize("name", NAMES)
def test_agents_and_counts_keep_an_attribute_of_any_name(rating_crowd, tmp_path, name):
    crowd = renamed(rating_crowd, name)
    column = name if name == "participant" else f"profile_{name}"
    city = sample(crowd, 50, 3).profile[1]
    truth = [city.levels[cell] for cell in city.cells]

    folder = tmp_path / "population"
    write_population(crowd, folder, 50, 3)
    table = pq.read_table(folder / "agents-00000.parquet").to_pandas()
    assert list(table.columns) == ["agent_id", "age", column]
    assert table[column].tolist() == truth
    assert json.loads((folder / "manifest.json").read_text())["profile_columns"][name] == column
    back = _read_profiles(folder, read_manifest(folder), crowd.generator.attributes)
    np.testing.assert_array_equal(back[1].cells, city.cells)
    assert back[1].name == name

    counts = count(crowd, 50, 3, by=name)
    write_counts(crowd, counts, tmp_path / "c", 3)
    rows = pq.read_table(tmp_path / "c" / "counts.parquet").to_pandas()
    assert rows.groupby(column)["count"].sum().to_dict() == {
        level: members * len(crowd.task_ids)
        for level, members in zip(counts.groups, counts.members, strict=True)
    }
    assert decide(tmp_path / "c").num_rows == len(crowd.task_ids)


def test_own_columns_are_those_of_the_files(alone_crowd, tmp_path):
    """Whatever column a file with (or beside) profiles has is kept free."""
    write_population(alone_crowd, tmp_path / "p", 5, 0)
    write_counts(alone_crowd, count(alone_crowd, 5, 0, by="city"), tmp_path / "c", 0)
    found = set()
    for path in tmp_path.glob("*/*.parquet"):
        found |= set(pq.read_schema(path).names)
    assert found - {"age", "city"} == OWN


def test_study_check_says_what_an_attribute_is_called():
    study = make_study()
    age, city = study.participants.profile
    people = dataclasses.replace(
        study.participants, profile=(age, dataclasses.replace(city, name="Share"))
    )
    text = describe(dataclasses.replace(study, participants=people))
    assert "is called profile_Share in populations and counts" in text
    assert "is called" not in describe(study)
