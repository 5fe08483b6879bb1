"""Answers in files: what the study wrote, for whoever opens them, and the same when read back."""

import json

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from known_people import make_known
from synthetic import make_study

from crowdllm_jax.aggregate.decide import decide
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population import sample as population
from crowdllm_jax.population.decisions import read, write, writing_of
from crowdllm_jax.population.manifest import write_manifest
from crowdllm_jax.population.read import open_population
from crowdllm_jax.population.write import write_population
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.scales import (
    Approval,
    Binary,
    Continuous,
    KApproval,
    Nominal,
    Ordinal,
    Points,
    Ranking,
)

NUMBERS = {
    "gaps": Ordinal(levels=(1, 3, 7)),
    "halves": Ordinal(levels=(0.5, 1, 1.5)),
    "quoted": Ordinal(levels=("0", "5", "10")),
    "coded": Binary(levels=(1, 2), labels=("yes", "no")),
    "turned": Binary(levels=(2, 1)),
    "party": Nominal(levels=(3, 1, 2), labels=("left", "right", "centre")),
    "price": Continuous(low=-10.0, high=30.0),
    "approve": Approval(),
    "pick": KApproval(k=2),
    "rank": Ranking(k=3),
    "share": Points(budget=10),
}
WORDS = {
    "frequency": Ordinal(levels=("never", "sometimes", "always")),
    "nps": Ordinal(levels=("0 - not at all", "1", "2 - surely")),
    "padded": Nominal(levels=("01", "02")),
    "agree": Binary(levels=("no", "yes")),
}
CASES = {
    **{name: {name: scale} for name, scale in (NUMBERS | WORDS).items()},
    "numbers": NUMBERS,
    "every": NUMBERS | WORDS,
    "whole numbers": {n: NUMBERS[n] for n in ("gaps", "coded", "party", "rank")},
}


@pytest.fixture(scope="module")
def crowds() -> dict[str, Crowd]:
    return {
        name: make_known(make_study(by_name), loud=0.3).crowd
        for name, by_name in CASES.items()
        if name in ("every", "whole numbers")
    }


def texts(scale: scales.Scale, own: np.ndarray) -> list[str]:
    """Answers as the study writes them, by the definition in the study's file."""
    if isinstance(scale, Continuous):
        return [str(np.float32(value)) for value in own]
    return [str(scales.written(scale)[int(level)]) for level in own]


@pytest.mark.parametrize("layout", ["long", "wide"])
@pytest.mark.parametrize("name", ["every", "whole numbers"])
def test_a_population_read_back_is_the_one_that_was_drawn(tmp_path, crowds, name, layout):
    crowd = crowds[name]
    drawn = population.sample(crowd, 90, 3).answers
    write_population(crowd, tmp_path / "p", 90, 3, layout=layout)
    (found,) = open_population(tmp_path / "p").blocks()
    np.testing.assert_array_equal(found, drawn)
    # And pandas, which knows of no manifest, sees what the study writes.
    table = pandas.read_parquet(tmp_path / "p" / "part-00000.parquet")
    for task, (task_id, scale) in enumerate(zip(crowd.task_ids, crowd.task_scales, strict=True)):
        own = table[task_id] if layout == "wide" else table.decision[table.task_id == task_id]
        seen = own.astype(str) if own.dtype == "category" else own
        if own.dtype == "category" and not isinstance(scale, Continuous):
            assert seen.tolist() == texts(scale, drawn[:, task])
        else:
            wanted = [float(text) for text in texts(scale, drawn[:, task])]
            np.testing.assert_array_equal(seen.astype(np.float32), np.float32(wanted))
    if name == "whole numbers":
        assert {str(t) for t in table.dtypes if str(t).startswith("int")} <= {"int64", "int8"}


@pytest.mark.parametrize("by_name", CASES.values(), ids=CASES)
def test_a_column_read_back_is_the_one_that_was_written(by_name):
    several = tuple(by_name.values())
    random = np.random.default_rng(0)
    scale_of = random.integers(0, len(several), 40)
    discrete = not any(isinstance(scale, Continuous) for scale in several)
    dtype = np.dtype(np.int8 if discrete else np.float32)
    answers = np.empty((30, 40), dtype)
    for task, index in enumerate(scale_of):
        k = scales.size(several[index])
        # Values that are written like other scales' levels, and values past any short text.
        values = np.float32([1, 2, -0.0, 1e-6, -10, 30, 29.999998, 1 / 3])
        answers[:, task] = random.integers(0, k, 30) if k else random.choice(values, 30)
    writing = writing_of(several)
    column = write(writing, scale_of, answers)
    assert column.type == writing.type
    assert pa.types.is_dictionary(column.type) == bool(by_name.keys() & WORDS.keys())
    found = read(column, several, np.tile(scale_of, 30), dtype)
    np.testing.assert_array_equal(found.reshape(30, 40), answers)
    for row, (cell, index) in enumerate(
        zip(column.to_pylist(), np.tile(scale_of, 30), strict=True)
    ):
        if level := scales.written(several[index]):
            wanted = level[int(answers.ravel()[row])]
            same = str(cell) == str(wanted) or cell == numerals.number(str(wanted))
            assert same, (cell, wanted)
            assert scale_text.parse(several[index], str(cell)) == answers.ravel()[row]


@pytest.mark.parametrize(
    ("levels", "dtype"),
    [
        ((0, 1), "int8"),
        ((-128, 127), "int8"),
        ((0, 128), "int16"),
        ((-40_000, 0), "int32"),
        ((0, 2**40), "int64"),
        ((0, 1e300), "float64"),
        ((0, 0.5), "float32"),
        ((0, 0.1), "float64"),
        (("1", "2"), "int8"),
    ],
)
def test_the_smallest_type_that_holds_every_number_exactly(levels, dtype):
    writing = writing_of([Ordinal(levels=levels)])
    assert writing.type == pa.from_numpy_dtype(np.dtype(dtype))
    assert writing.of_level[0].tolist() == [float(level) for level in levels]


@pytest.mark.parametrize("cell", ["0", "4", None])
@pytest.mark.parametrize("kind", [pa.int8(), pa.string()])
def test_a_cell_that_is_no_answer_is_told(cell, kind):
    column = pa.array(["1", cell]).cast(kind)
    with pytest.raises(CrowdError, match=r"no answer on its scale \(ordinal|is empty"):
        read(column, [Ordinal(levels=(1, 2, 3))], np.zeros(2, np.int32), np.dtype(np.int8))


def as_before(folder, levels: dict[str, dict[str, str]]) -> None:
    """A finished population's manifest as schema 1 had it."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("manifest_sha256")
    manifest["schema"] = 1
    for name, own in levels.items():
        manifest["scales"][name]["levels"] = own
    write_manifest(folder, manifest)


def test_populations_of_before_are_read_where_nothing_has_changed(tmp_path, crowds):
    crowd = crowds["whole numbers"]
    write_population(crowd, tmp_path / "p", 20, 3)
    expected = decide(tmp_path / "p").to_pylist()
    as_before(tmp_path / "p", {})
    assert decide(tmp_path / "p").to_pylist() == expected
    # Then "1" and "2" were 0 and 1.
    as_before(tmp_path / "p", {"coded": {"0": "yes", "1": "no"}})
    with pytest.raises(
        CrowdError, match=r"made by an earlier version.*on scale 'coded'.*sample aga"
    ):
        decide(tmp_path / "p")


def test_a_population_of_a_later_version_is_refused(tmp_path, crowds):
    write_population(crowds["whole numbers"], tmp_path / "p", 20, 3)
    path = tmp_path / "p" / "manifest.json"
    manifest = json.loads(path.read_text()) | {"schema": 4}
    manifest.pop("manifest_sha256")
    write_manifest(tmp_path / "p", manifest)
    with pytest.raises(CrowdError, match=r"of a newer version .* \(schema 4, this one reads 3\)"):
        decide(tmp_path / "p")


def test_a_file_that_another_program_has_written_again_is_read(tmp_path, crowds):
    crowd = crowds["every"]
    write_population(crowd, tmp_path / "p", 40, 3)
    (before,) = open_population(tmp_path / "p").blocks()
    path = tmp_path / "p" / "part-00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(2, "decision", table["decision"].cast(pa.string())), path)
    (after,) = open_population(tmp_path / "p").blocks()
    np.testing.assert_array_equal(before, after)
