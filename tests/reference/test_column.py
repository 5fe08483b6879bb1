"""Reference decisions read from a table."""

import numpy as np
import pytest
from synthetic import EVERY_SCALE, make_study, write_table

from crowdllm_jax.reference.column import ColumnReference, from_column

TASKS = ["t00", "t01", "t02", "t03"]


def read(folder, columns, study=None, **keys):
    write_table(folder / "ref.csv", columns)
    config = ColumnReference(path="ref.csv", **keys)
    return from_column(study or make_study(), config, str(folder))


def test_values_in_any_order_with_more_tasks_than_asked(tmp_path):
    reference = read(
        tmp_path,
        {"task": [*TASKS[::-1], "extra"], "v": ["4", "3.5", "2", "1", "99"]},
        value="v",
    )
    assert reference.mean.tolist() == [1, 2, 3.5, 4]
    assert reference.probs is None
    assert reference.mass is None


def test_repeated_answers_become_frequencies(tmp_path):
    task = [name for name in TASKS for _ in range(4)]
    values = ["1", "1", "2", "5"] * 4
    reference = read(tmp_path, {"task": task, "v": values}, value="v")
    np.testing.assert_allclose(reference.mean, 9 / 4)
    np.testing.assert_allclose(reference.probs, np.tile([0.5, 0.25, 0, 0, 0.25], (4, 1)))


def test_probabilities_and_their_mass(tmp_path):
    levels = {name: ["0.2"] * 4 for name in "abcd"} | {"e": ["0.19"] * 4}
    reference = read(
        tmp_path,
        {"task": TASKS, **levels, "m": ["0.5"] * 4},
        probabilities=tuple("abcde"),
        mass="m",
    )
    np.testing.assert_allclose(reference.probs.sum(1), 1)
    np.testing.assert_allclose(reference.mean, reference.probs @ [1, 2, 3, 4, 5])
    np.testing.assert_allclose(reference.mass, 0.5)


@pytest.mark.parametrize("where", [{"model": "big"}, {"heat": 1}, {"heat": "1.0"}])
def test_rows_are_kept_by_what_they_hold(tmp_path, where):
    columns = {
        "task": TASKS * 2, "v": ["1"] * 4 + ["5"] * 4,
        "model": ["small"] * 4 + ["big"] * 4, "heat": ["0"] * 4 + ["1.0"] * 4,
    }  # fmt: skip
    reference = read(tmp_path, columns, value="v", where=where)
    assert reference.mean.tolist() == [5] * 4


def test_several_scales_keep_their_own_units(tmp_path):
    study = make_study({"a": EVERY_SCALE["rating"], "b": EVERY_SCALE["price"]}, tasks=2)
    reference = read(tmp_path, {"task": TASKS, "v": ["1", "5", "-10", "30"]}, study, value="v")
    assert reference.mean.tolist() == [1, 5, -10, 30]
