"""`crowdllm embed` with a decoder, and what a study makes of its layers."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from crowdllm_jax.backbone.task_states import task_states
from crowdllm_jax.backbone.weights import load
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.task_embeddings import layers_of, read_layers
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.prepare import prepare


def test_layers_of_a_decoder_become_a_studys_features(ask, model, tmp_path, capsys):
    path = ask(kind="fitted", folds=2)
    layers = ["--layer", "1,2", "--out", str(path.with_name("llm.parquet"))]
    assert main(["embed", str(path), "--model", str(model), *layers]) == 0
    assert "column: [layer_1, layer_2]" in capsys.readouterr().out
    table = pq.read_table(path.with_name("llm.parquet"))
    study = load_study(path)
    states = task_states(load(model, dtype="float32"), study.tasks.text, (1, 2))
    for name, own in zip(("layer_1", "layer_2"), states, strict=True):
        found = np.array(table[name].to_pylist())
        np.testing.assert_allclose(found, own - own.mean(0), atol=1e-5)
    assert json.loads(table.schema.metadata[b"crowdllm"])["layers"] == [1, 2]
    chosen = "study.tasks.embedding={path: llm.parquet, column: [layer_1, layer_2]}"
    config = load_config(path, (chosen, "split.by=tasks"))
    ready = prepare(load_study(config), config, 0)
    (block,) = ready.study.tasks.blocks  # one of the two
    assert block.name in ("llm/layer_1", "llm/layer_2")
    assert ready.reference.kind == "fitted"


def test_which_layers():
    assert layers_of(30, None) == (10,)
    assert layers_of(30, "auto") == (8, 10, 15)
    assert layers_of(1, "auto") == (1,)
    assert layers_of(30, (8, 3, 8)) == (3, 8)
    assert read_layers("auto") == "auto"
    assert read_layers("10") == (10,)
    for text in ("0", "8,", "middle", "-1"):
        with pytest.raises(CrowdError, match=f"--layer {text}: give a number from 1"):
            read_layers(text)
