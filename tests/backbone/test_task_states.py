"""Hidden states of middle layers against torch's, one text at a time."""

import families
import jax
import numpy as np
import pytest
import torch
import vocabularies as v

from crowdllm_jax.backbone import task_states as module
from crowdllm_jax.backbone.scoring import padded
from crowdllm_jax.backbone.task_states import run_states, task_states
from crowdllm_jax.backbone.tokens import encode_texts
from crowdllm_jax.backbone.weights import load
from crowdllm_jax.errors import CrowdError

TEXTS = ["How offensive is this comment ?", "You are all fools ! " * 8, " The park costs 100 "]


def make(family, folder, chat=None):
    model = families.make(family, folder, vocab_size=160)
    v.save(v.sentencepiece(), folder, chat)
    return model


@pytest.fixture(scope="module", params=["llama3", "qwen3", "gemma3"])
def pair(request, tmp_path_factory):
    """(torch model, our backbone) of one family; Qwen 3 with a chat template."""
    folder = tmp_path_factory.mktemp(request.param)
    model = make(request.param, folder, v.CHAT if request.param == "qwen3" else None)
    with jax.default_matmul_precision("highest"):
        yield model, load(folder, dtype="float32")


@pytest.mark.parametrize("before", ["", "Options : agree\n\n"])
def test_states_after_any_layer_equal_torch(pair, before):
    model, backbone = pair
    layers = tuple(range(1, backbone.architecture.layers + 1))
    found = task_states(backbone, TEXTS, layers, before=before, batch=2)
    for i, (tokens, (begin, end)) in enumerate(encode_texts(backbone.tokenizer, TEXTS, before)):
        text = backbone.tokenizer.decode(tokens[begin:end]).strip()
        assert text.replace(" ", "") == TEXTS[i].replace(" ", "")  # the span is the text's own
        with torch.no_grad():
            states = model(torch.tensor([tokens]), output_hidden_states=True).hidden_states
        for ours, layer in zip(found, layers, strict=True):
            wanted = states[layer][0, begin:end].mean(0).numpy()
            assert wanted.std() > 0.01
            np.testing.assert_allclose(ours[i], wanted, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    make("llama2", folder)
    return load(folder, dtype="float32")


@pytest.mark.parametrize(("layers", "computed"), [((1,), [1]), ((1, 2), [1, 1]), ((2,), [2])])
def test_deeper_layers_are_not_computed(backbone, layers, computed):
    token, share = np.zeros((2, 32), np.int32), np.ones((2, 32), np.float32)
    program = jax.make_jaxpr(run_states, static_argnums=(0, 5))(
        backbone.graph, backbone.weights, token, token, share, layers
    )
    steps = program.jaxpr.eqns[0].params["jaxpr"].eqns
    found = [one.params["length"] for one in steps if one.primitive.name == "scan"]
    assert found == computed


def test_one_program_per_bucket_of_lengths(backbone):
    texts = [f"{'agree ' * n}" for n in range(1, 40)]
    lengths = {padded(len(tokens)) for tokens, _ in encode_texts(backbone.tokenizer, texts)}
    before = run_states._cache_size()
    one = task_states(backbone, texts, (1,), batch=4)
    made = run_states._cache_size() - before
    assert 2 <= made <= len(lengths)
    two = task_states(backbone, texts[::-1], (1,), batch=4)
    assert run_states._cache_size() - before == made
    np.testing.assert_allclose(one, two[:, ::-1], atol=1e-6)


def test_what_cannot_be_embedded_is_named(backbone, monkeypatch):
    with pytest.raises(CrowdError, match=r"layer 9 of one.*: it has layers 1 to"):
        task_states(backbone, TEXTS, (1, 9))
    with pytest.raises(CrowdError, match="tokens exceed the model's context"):
        task_states(backbone, ["agree " * 5000], (1,))
    monkeypatch.setattr(module, "run_states", lambda *_: np.full((1, 32, 1), np.nan))
    with pytest.raises(CrowdError, match=r"hidden states of 'How offensive.*' are not finite"):
        task_states(backbone, TEXTS, (1,))
