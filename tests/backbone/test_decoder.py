"""The decoder against transformers' torch models, on tiny random checkpoints of every family."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import families
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from crowdllm_jax.backbone import decoder
from crowdllm_jax.backbone.architecture import Architecture, Rope, read_architecture
from crowdllm_jax.backbone.decoder import Decoder
from crowdllm_jax.backbone.hub import read_json
from crowdllm_jax.backbone.weights import load_weights

TOKENS = np.random.default_rng(0).integers(3, families.VOCAB, (2, 40))
BOUND = 1e-4


class Checkpoint(NamedTuple):
    folder: Path
    wanted: np.ndarray  # torch's logits
    a: Architecture
    weights: nnx.State


@pytest.fixture(scope="module", params=list(families.FAMILIES))
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    model = families.make(request.param, folder)
    with torch.no_grad():
        wanted = model(torch.tensor(TOKENS)).logits.numpy()
    a = read_architecture(read_json(folder / "config.json"))
    return Checkpoint(folder, wanted, a, load_weights(folder, a, jnp.float32)[1])


@partial(jax.jit, static_argnums=0)
def run(graph, weights):
    model = nnx.merge(graph, weights)
    places = jnp.broadcast_to(jnp.arange(TOKENS.shape[1]), TOKENS.shape)
    return model.logits(model(jnp.asarray(TOKENS), places, jnp.zeros_like(places)))


def our_logits(a, weights):
    graph, _ = nnx.split(nnx.eval_shape(lambda: Decoder(a)))
    with jax.default_matmul_precision("highest"):
        return np.asarray(run(graph, weights))


def test_logits_equal_torch(checkpoint):
    a, wanted, weights = checkpoint.a, checkpoint.wanted, checkpoint.weights
    assert wanted.std() > 0.3  # logits near zero would agree whatever we did
    np.testing.assert_allclose(our_logits(a, weights), wanted, rtol=0, atol=BOUND)


@pytest.mark.parametrize("parts", [8, 40])
def test_attention_in_blocks_is_the_same(checkpoint, monkeypatch, parts):
    """Forwards and backwards, whether a block has some queries or a single one."""
    a, weights = checkpoint.a, checkpoint.weights
    rows, places = TOKENS.shape
    monkeypatch.setattr(decoder, "SCORES", rows * a.heads * places**2 // parts)
    run.clear_cache()
    np.testing.assert_allclose(our_logits(a, weights), checkpoint.wanted, rtol=0, atol=BOUND)
    run.clear_cache()


def test_long_texts_need_no_room_for_all_scores():
    """32 rows of 2,048 tokens: 8 heads' scores would take 4.3 GB of float32."""
    config = {**families.COMMON, "num_attention_heads": 8, "max_position_embeddings": 4096}
    a = read_architecture({"model_type": "llama", "rms_norm_eps": 1e-5, **config})
    graph, weights = nnx.split(nnx.eval_shape(lambda: Decoder(a)))
    shape = jax.ShapeDtypeStruct((32, 2048), jnp.int32)

    def hidden(weights, token, position, segment):
        return nnx.merge(graph, weights)(token, position, segment)

    program = jax.jit(hidden).lower(weights, shape, shape, shape).compile()
    assert program.memory_analysis().temp_size_in_bytes < 2.2e9


def test_both_config_styles_say_the_same(checkpoint, tmp_path):
    (tmp_path / "config.json").write_text((checkpoint.folder / "config.json").read_text())
    families.old_style(tmp_path)
    assert "rope_theta" in json.loads((tmp_path / "config.json").read_text())
    assert read_architecture(read_json(tmp_path / "config.json")) == checkpoint.a


MUTATIONS = {
    "rope theta": lambda a: {"ropes": tuple(replace(r, theta=2 * r.theta) for r in a.ropes)},
    "rope scaling": lambda a: {"ropes": tuple(Rope(r.theta) for r in a.ropes)},
    "window": lambda a: {"windows": tuple(w and w + 1 for w in a.windows)},
    "eps": lambda a: {"eps": a.eps / 10},
    "activation": lambda a: {"activation": "gelu"},
    "query scale": lambda a: {"query_scale": 1.1 * a.query_scale},
    "attention softcap": lambda a: {"attn_softcap": None},
    "logit softcap": lambda a: {"final_softcap": None},
    "norm offset": lambda a: {"norm_offset": 0.0},
    "embedding scale": lambda a: {"embed_scale": 1.0},
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_architecture_is_seen(checkpoint, name):
    """Each figure of the architecture moves the logits by more than the bound of the parity test,
    so that test would fail if it were read wrongly."""
    a, wanted, weights = checkpoint.a, checkpoint.wanted, checkpoint.weights
    changed = replace(a, **MUTATIONS[name](a))
    if changed == a:
        return  # the family does without
    with jax.disable_jit():  # one operation at a time is 10 times faster than compiling each change
        found = our_logits(changed, weights)
    assert np.abs(found - wanted).max() > 2 * BOUND


@pytest.mark.parametrize("part", ["bias", "q_norm", "k_norm", "post_norm"])
def test_a_neutral_weight_is_seen(checkpoint, part):
    """Biases and norms that were dropped would be seen, one by one."""
    a, wanted, weights = checkpoint.a, checkpoint.wanted, checkpoint.weights
    neutral = 1.0 if "norm" in part and not a.norm_offset else 0.0
    flat = nnx.to_flat_state(weights)
    for chosen, _ in flat:
        if part not in chosen[-1]:
            continue
        # A key bias moves all the scores of a query alike, but for the rotation between them.
        changed = nnx.from_flat_state(
            [
                (p, leaf.replace(jnp.full_like(leaf[...], neutral)) if p == chosen else leaf)
                for p, leaf in flat
            ]
        )
        assert np.abs(our_logits(a, changed) - wanted).max() > 2 * BOUND, chosen


def test_every_mutation_applies_somewhere():
    """The two tests above pass over what a family lacks; together they leave nothing out."""
    seen = set()
    for family in families.FAMILIES:
        config_class, extra = families.FAMILIES[family]
        config = config_class(**{**families.COMMON, **extra}).to_dict()
        a = read_architecture(config)
        seen |= {n for n in MUTATIONS if replace(a, **MUTATIONS[n](a)) != a}
    assert seen == set(MUTATIONS)
