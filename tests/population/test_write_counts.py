"""Counts on disk, as the command writes them."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from crowdllm_jax.cli.main import main
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.count import count
from crowdllm_jax.population.write_counts import write_counts
from crowdllm_jax.study.bins import bins


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A fitted run's folder."""
    from synthetic import write_config

    folder = tmp_path_factory.mktemp("fitted")
    assert (
        main(["fit", str(write_config(folder / "in")), "--out", str(folder / "run"), "--quiet"])
        == 0
    )
    return folder / "run"


@pytest.mark.parametrize("by", [None, "city", "age"])
def test_every_count_stands_in_its_row(tmp_path, mixed_crowd: Crowd, by):
    found = count(mixed_crowd, 300, seed=2, by=by)
    write_counts(mixed_crowd, found, tmp_path / "c", seed=2)
    table = pq.read_table(tmp_path / "c" / "counts.parquet")
    assert found.to_arrow().equals(table.replace_schema_metadata(None))
    assert found.to_pandas()["count"].sum() == found.members.sum() * len(mixed_crowd.task_ids)
    rows = table.to_pylist()
    sizes = [len(bins(scale)) for scale in mixed_crowd.task_scales]
    assert len(rows) == sum(sizes) * len(found.groups)
    at = iter(rows)
    for task, task_id in enumerate(mixed_crowd.task_ids):
        for group, name in enumerate(found.groups):
            for k in range(sizes[task]):
                row = next(at)
                assert row["task_id"] == task_id
                assert by is None or row[by] == name
                assert row["count"] == found.counts[group, task, k]
                assert row["share"] == row["count"] / found.members[group]
    ranks = [row["decision"] for row in rows if row["task_id"] == mixed_crowd.task_ids[-8]][:4]
    assert ranks == ["0", "3", "2", "1"], "a ranking is written in ranks"
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    assert manifest["synthetic"] is True
    assert (manifest["agents"], manifest["seed"], manifest["by"]) == (300, 2, by)
    assert manifest["config"]["kind"] == "cvae"
    means = pq.read_table(tmp_path / "c" / "means.parquet")
    assert set(manifest["columns"]) == {*table.column_names, *means.column_names}
    assert set(manifest["files"]) == {"counts.parquet", "means.parquet"}
    at = iter(means.to_pylist())
    for task, task_id in enumerate(mixed_crowd.task_ids):
        for group, name in enumerate(found.groups):
            row = next(at)
            assert (row["task_id"], row["agents"]) == (task_id, found.members[group])
            assert by is None or row[by] == name
            assert (row["mean"], row["sd"]) == (found.mean[group, task], found.sd[group, task])
    # A stretch of a continuous scale is called one, and is no decision.
    price = [row for row in rows if row["low"] is not None]
    assert {(row["low"], row["high"]) for row in price[:2]} == {(-10, -9.8), (-9.8, -9.6)}
    assert all((row["decision"] is None) == (row["low"] is not None) for row in rows)


def test_the_command_counts_a_billion(fitted, tmp_path, capsys):
    out = tmp_path / "c"
    argv = ["sample", str(fitted), "--aggregate", "--agents", "1000000000", "--out", str(out)]
    assert main([*argv, "--by", "city", "--seed", "4"]) == 0
    assert f"counts      {out}" in capsys.readouterr().out
    table = pq.read_table(out / "counts.parquet")
    for task in set(table["task_id"].to_pylist()):
        here = np.array(table["task_id"].to_pylist()) == task
        assert np.asarray(table["count"])[here].sum() == 10**9
    assert main([*argv, "--by", "city"]) == 2
    assert "is there already; nothing was written" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c"]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--aggregate", "--by", "height"], "--by height: the crowd has no such attribute"),
        (["--by", "city"], "give --aggregate, too"),
        (["--aggregate", "--agents", "0"], "population.agents"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(fitted, tmp_path, capsys, more, text):
    assert main(["sample", str(fitted), "--out", str(tmp_path / "c"), *more]) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
