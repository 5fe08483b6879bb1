"""From a checkpoint folder to a report on real ratings, without a network."""

import json
import os
import socket
from pathlib import Path

import families
import pyarrow.compute as pc
import pyarrow.csv
import pytest
import vocabularies

from crowdllm_jax.cli.main import main

REAL = os.environ.get("CROWDLLM_TEST_DATA")
CONFIG = Path(__file__).parents[2] / "configs" / "offensiveness.yaml"


@pytest.mark.skipif(not REAL, reason="CROWDLLM_TEST_DATA names no folder of real ratings")
def test_a_checkpoint_folder_answers_a_real_study(tmp_path, monkeypatch, capsys):
    """Of 60 texts, and the crowd is fitted for a moment only: what is shown is the way, not the
    quality."""

    def no_network(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.chdir(tmp_path)
    ratings = pyarrow.csv.read_csv(f"{REAL}/offensiveness/ratings.csv")
    some = pc.unique(ratings["instance_id"])[:60]
    pyarrow.csv.write_csv(ratings.filter(pc.is_in(ratings["instance_id"], some)), "ratings.csv")
    families.make("qwen3", tmp_path / "tiny", vocab_size=400, max_position_embeddings=2048)
    vocabularies.save(vocabularies.bytelevel(), tmp_path / "tiny", vocabularies.CHAT)
    changes = (
        "reference={kind: backbone, model: tiny, personas: 3}",
        "study.tasks.embedding=null",  # the model's own takes its place
        "model={kind: persistent, steps: 3, nodes: 16}",
        "train.epochs=1",
        "population.agents=300",
    )
    arguments = [part for change in changes for part in ("--set", change)]
    assert main(["run", str(CONFIG), "--data", ".", "--out", "run", "--quiet", *arguments]) == 0
    said = capsys.readouterr().out
    assert "LLM asked per persona" in said
    scores = json.loads((tmp_path / "run/scores.json").read_text())
    models = {score["model"] for score in scores}
    assert models >= {"humans", "persistent", "reference_sampled", "personas"}
    assert (tmp_path / "run/report.html").stat().st_size > 10_000
    assert main(["reference", str(CONFIG), "--data", ".", "--dry-run", *arguments]) == 0
    assert ", 0 to score" in capsys.readouterr().out
