"""`crowdllm bench`: runs the scripts that are there, and says what to do where it cannot."""

import json
from pathlib import Path

import pytest

from crowdllm_jax.cli import bench
from crowdllm_jax.cli.main import main

SCRIPT = """
import json, sys
assert sys.argv[1] == "--json"
record = {"benchmark": "speed", "variant": "ours", "metric": "share", "unit": "1", "device": "cpu"}
with open(sys.argv[2], "w") as file:
    json.dump([{**record, "value": 0.823}, {**record, "value": 1234.5, "unit": "1/s"}], file)
"""


def scripts(folder: Path, **sources: str) -> Path:
    folder.mkdir()
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    return folder


def run(folder: Path, *more: str) -> int:
    return main(["bench", "--folder", str(folder), "--out", str(folder.parent / "out"), *more])


def test_records_become_one_table(tmp_path, capsys):
    folder = scripts(
        tmp_path / "b", population=SCRIPT, training=SCRIPT, crowds="raise SystemExit(1)"
    )
    assert run(folder) == 0
    shown = capsys.readouterr().out
    assert shown.count("82.3%") == 2
    assert "1,234 1/s" in shown
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "population.json",
        "training.json",
    }
    assert len(json.loads((tmp_path / "out" / "population.json").read_text())) == 2


def test_only_the_chosen_ones_run(tmp_path):
    folder = scripts(tmp_path / "b", population="raise SystemExit('no')", aggregate=SCRIPT)
    assert run(folder, "--only", "aggregate") == 0


@pytest.mark.parametrize(
    ("sources", "more", "says"),
    [
        ({}, (), "clone it and name its folder, --folder"),
        ({"population": SCRIPT}, ("--only", "training"), "there are: population"),
        ({"population": "raise ValueError('odd weights')"}, (), "odd weights"),
    ],
    ids=["no scripts", "unknown", "fails"],
)
def test_what_cannot_be_run_is_told(tmp_path, capsys, sources, more, says):
    assert run(scripts(tmp_path / "b", **sources), *more) == 2
    assert says in capsys.readouterr().err.replace("\n", " ")


def test_a_missing_torch_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda _name: None)
    assert run(scripts(tmp_path / "b", population=SCRIPT)) == 2
    assert "pip install 'crowdllm-jax[benchmarks]'" in capsys.readouterr().err.replace("\n", " ")
