"""A population in other programs' files holds the agents sampled, and says what they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.model.crowd import Crowd, numbers_of
from crowdllm_jax.population import read
from crowdllm_jax.population.export import NOTE, _spss_names, export_population
from crowdllm_jax.population.sample import sample
from crowdllm_jax.population.write import write_population
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Ordinal

N, SEED = 150, 5


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 64 agents, so that 150 make three."""
    monkeypatch.setattr(read, "CELLS", 64)


@pytest.fixture(scope="module", params=["long", "wide"])
def folder(request, mixed_crowd: Crowd, tmp_path_factory) -> Path:
    """A population of each layout: what is exported does not depend on it."""
    path = tmp_path_factory.mktemp("population") / request.param
    write_population(mixed_crowd, path, N, SEED, layout=request.param)
    return path


def written(crowd: Crowd, task: int, levels: np.ndarray) -> list[object]:
    """The oracle: what the study writes for each level."""
    scale = crowd.task_scales[task]
    if scales.is_continuous(scale):
        return pytest.approx([float(level) for level in levels], rel=1e-5)
    return [scales.written(scale)[int(level)] for level in levels]


def test_a_row_per_agent_as_pandas_reads_it(folder, mixed_crowd: Crowd, tmp_path):
    files = export_population(folder, tmp_path / "a.csv")
    assert [path.name for path in files] == ["a.csv", "a.csv.note.txt"]
    assert NOTE in files[1].read_text()
    table = pd.read_csv(files[0])
    agents = sample(mixed_crowd, N, SEED)
    assert table["agent_id"].tolist() == list(range(N))
    assert (table["synthetic"] == 1).all()
    for task, name in enumerate(mixed_crowd.task_ids):
        assert table[name].tolist() == written(mixed_crowd, task, agents.answers[:, task]), name
    for attribute in agents.profile:
        cells = attribute.cells
        if attribute.kind == "numeric":
            np.testing.assert_allclose(table[attribute.name], cells)
        else:
            assert table[attribute.name].tolist() == [attribute.levels[c] for c in cells]


def test_a_row_per_decision(folder, mixed_crowd: Crowd, tmp_path):
    export_population(folder, tmp_path / "a.parquet", layout="long", agents=100)
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.metadata[b"crowdllm.synthetic"] == b"true"
    frame = table.to_pandas()
    agents = sample(mixed_crowd, 100, SEED)
    assert len(frame) == 100 * len(mixed_crowd.task_ids)
    assert (frame["synthetic"] == 1).all()
    own = frame[frame["task_id"] == mixed_crowd.task_ids[0]]
    expected = numbers_of(mixed_crowd, agents.answers)[:, 0]
    np.testing.assert_allclose(own["decision"].astype(float), expected)


def test_labels_in_spss(folder, mixed_crowd: Crowd, tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    export_population(folder, tmp_path / "a.sav")
    table, meta = pyreadstat.read_sav(str(tmp_path / "a.sav"))
    agents = sample(mixed_crowd, N, SEED)
    assert "Synthetic" in meta.file_label
    assert "not a person" in " ".join(" ".join(meta.notes).split())
    for task, name in enumerate(mixed_crowd.task_ids):
        scale = mixed_crowd.task_scales[task]
        levels = agents.answers[:, task]
        if scales.is_continuous(scale):
            np.testing.assert_allclose(table[name], levels, rtol=1e-5)
            continue
        shown = [scales.labels(scale)[int(level)] for level in levels]
        names = meta.variable_value_labels.get(name, {})
        told = [names.get(code, f"{code:g}") for code in table[name]]
        assert told == shown, name
    city = meta.variable_value_labels["city"]
    attribute = agents.profile[1]
    assert [city[c] for c in table["city"]] == [attribute.levels[c] for c in attribute.cells]


def test_no_text_is_a_formula(rating_crowd: Crowd, tmp_path):
    odd = Ordinal(levels=("=1+1", "@sum", "-x", "+y", "fine"))
    (name,) = rating_crowd.scales
    crowd = replace(rating_crowd, scales={name: odd})
    write_population(crowd, tmp_path / "p", 64, SEED)
    export_population(tmp_path / "p", tmp_path / "a.csv")
    table = pd.read_csv(tmp_path / "a.csv")
    cells = set(table[list(crowd.task_ids)].to_numpy().ravel())
    assert cells == {"'=1+1", "'@sum", "'-x", "'+y", "fine"}


def test_what_is_refused(folder, tmp_path):
    def told(out: str, **options) -> str:
        with pytest.raises(CrowdError) as caught:
            export_population(folder, tmp_path / out, **options)
        return str(caught.value)

    assert "ends in .csv, .parquet or .sav" in told("a.xlsx")
    (tmp_path / "b.csv").write_text("mine")
    assert "is there already" in told("b.csv")
    (tmp_path / "n.csv.note.txt").write_text("mine")
    assert "n.csv.note.txt is there already" in told("n.csv")
    for agents in (0, -1, True, 2.5, "many"):
        assert f"--agents: {agents} is not a number" in told("c.csv", agents=agents)
    assert "no 'zz'; give wide or long" in told("c.csv", layout="zz")
    with pytest.raises(CrowdError, match="holds no manifest"):
        export_population(tmp_path, tmp_path / "d.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.csv", "n.csv.note.txt"]


def test_more_agents_than_there_are(rating_crowd: Crowd, tmp_path):
    write_population(rating_crowd, tmp_path / "p", 64, SEED)
    with pytest.warns(CrowdWarning, match="has 64 agents"):
        export_population(tmp_path / "p", tmp_path / "a.csv", agents=65)


def test_names_that_spss_keeps_for_itself():
    assert _spss_names(["by", "BY", "to", "tom", "1"]) == ["v_by", "v_BY_2", "v_to", "tom", "v_1"]
