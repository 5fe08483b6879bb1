"""Sentence embeddings against transformers' torch encoders."""

import json
from dataclasses import replace

import families
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers as tf
import vocabularies as v
from flax import nnx
from safetensors.numpy import load_file, save_file

from crowdllm_jax.backbone.sentence_encoder import Encoder, embed, load_encoder, run_texts
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runs.config import load_study

TEXTS = [
    "How offensive is this comment ?",
    "fools",
    ("agree " * 20).strip(),
    "The new park costs 1250 euros",
]
SIZES = {
    "vocab_size": 160,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 130,
    "layer_norm_eps": 1e-3,
    "pad_token_id": 0,
}
KINDS = {
    "bert": (tf.BertConfig, tf.BertModel),
    "roberta": (tf.RobertaConfig, tf.RobertaModel),
    "xlm-roberta": (tf.XLMRobertaConfig, tf.XLMRobertaModel),
}


def make(folder, kind="bert", **changes):
    config_class, model_class = KINDS[kind]
    model = model_class(config_class(**{**SIZES, "type_vocab_size": 2, **changes})).eval()
    families.randomise(model)
    model.save_pretrained(folder)
    v.save(v.sentencepiece(), folder)
    return model


def torch_states(model, encoder, text):
    tokens = torch.tensor([encoder.tokenizer(text)["input_ids"][: encoder.length]])
    with torch.no_grad():
        return model(tokens).last_hidden_state[0].numpy()


def means(model, encoder):
    return np.stack([torch_states(model, encoder, text).mean(0) for text in TEXTS])


def ours(encoder, texts=TEXTS, batch=3):
    with jax.default_matmul_precision("highest"):
        return embed(encoder, texts, batch=batch)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    model = make(folder)
    return model, load_encoder(folder)


@pytest.mark.parametrize(
    ("kind", "act"), [("bert", "gelu"), ("roberta", "gelu_new"), ("xlm-roberta", "gelu")]
)
def test_embeddings_equal_torch(tmp_path, kind, act):
    model = make(tmp_path, kind, hidden_act=act)
    encoder = load_encoder(tmp_path)
    wanted = means(model, encoder)
    assert wanted.std() > 0.1
    np.testing.assert_allclose(ours(encoder), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "change", [{"eps": 1e-4}, {"activation": "gelu_tanh"}, {"first": 1}, {"heads": 8}]
)
def test_a_wrong_shape_is_seen(pair, change):
    model, encoder = pair
    shape = replace(encoder.shape, **change)
    graph, _ = nnx.split(nnx.eval_shape(lambda: Encoder(shape)))
    changed = ours(replace(encoder, shape=shape, graph=graph))
    assert np.abs(changed - means(model, encoder)).max() > 2e-4


def test_every_weight_counts(pair):
    """But for a key bias, which moves all scores of a query alike and so changes nothing."""
    _, encoder = pair
    base, flat = ours(encoder), nnx.to_flat_state(encoder.weights)
    for path, _ in flat:
        if path[-1] == "layer_k_bias":
            continue
        changed = nnx.from_flat_state(
            [(p, x.replace(jnp.zeros_like(x[...])) if p == path else x) for p, x in flat]
        )
        assert np.abs(ours(replace(encoder, weights=changed)) - base).max() > 2e-4, path


def test_batch_and_padding_change_nothing(pair):
    _, encoder = pair
    single = np.concatenate([ours(encoder, [t], batch=1) for t in TEXTS])
    np.testing.assert_allclose(ours(encoder, TEXTS, batch=4), single, rtol=0, atol=1e-5)
    assert ours(encoder, []).shape == (0, 32)


def test_sentence_transformers_files_are_followed(tmp_path):
    model = make(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    encoder = load_encoder(tmp_path)
    for text, found in zip(TEXTS, ours(encoder), strict=True):
        # Cut at nine tokens, of which the last is the end that the tokenizer adds.
        tokens = encoder.tokenizer(text)["input_ids"]
        tokens = tokens if len(tokens) <= 9 else [*tokens[:8], tokens[-1]]
        with torch.no_grad():
            first = model(torch.tensor([tokens])).last_hidden_state[0, 0].numpy()
        np.testing.assert_allclose(found, first / np.linalg.norm(first), rtol=0, atol=1e-4)
    pooling["pooling_mode_max_tokens"] = True
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(CrowdError, match=r"pooling .*max_tokens.* is not supported"):
        load_encoder(tmp_path)


def test_old_names_and_foreign_heads(tmp_path):
    model = make(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = {
        f"bert.{n}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): t
        for n, t in load_file(path).items()
    }
    tensors["cls.predictions.bias"] = np.ones(3, np.float32)
    save_file(tensors, path)
    encoder = load_encoder(tmp_path)
    np.testing.assert_allclose(ours(encoder), means(model, encoder), rtol=0, atol=1e-4)
    tensors["bert.adapter.weight"] = np.ones(3, np.float32)
    save_file(tensors, path)
    with pytest.raises(CrowdError, match=r"no place for tensor bert\.adapter\.weight"):
        load_encoder(tmp_path)
    del tensors["bert.adapter.weight"], tensors["bert.encoder.layer.1.output.dense.bias"]
    save_file(tensors, path)
    with pytest.raises(CrowdError, match=r"layer\.1\.output\.dense\.bias is missing"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "mpnet"},
        {"hidden_act": "relu"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
    ],
)
def test_what_is_not_computed_is_refused(tmp_path, change):
    make(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CrowdError, match=f"`{next(iter(change))}` is .*not supported"):
        load_encoder(tmp_path)


def test_no_retrace(pair):
    _, encoder = pair
    embed(encoder, ["agree " * n for n in range(1, 9)], batch=4)
    before = run_texts._cache_size()
    embed(encoder, ["costs " * n for n in range(1, 9)], batch=4)
    assert run_texts._cache_size() == before


STUDY = """
responses: {path: answers.csv}
tasks: {text: text, embedding: {path: vectors.parquet}}
scales: {rating: {kind: ordinal, levels: [1, 2]}}
"""


@pytest.fixture
def survey(tmp_path, monkeypatch):
    """A study file whose embedding is still to be made."""
    monkeypatch.chdir(tmp_path)
    rows = [
        f'{p},t{i},"{text}",{1 + (p + i) % 2}' for p in range(3) for i, text in enumerate(TEXTS)
    ]
    (tmp_path / "answers.csv").write_text("\n".join(["participant,task,text,response", *rows]))
    (tmp_path / "survey.yaml").write_text(STUDY)
    return tmp_path / "survey.yaml"


def test_a_study_reads_the_embeddings_that_the_command_wrote(survey, tmp_path, capsys):
    model = make(tmp_path / "encoder")
    command = ["embed", "survey.yaml", "--model", "encoder", "--out", "vectors.parquet"]
    with jax.default_matmul_precision("highest"):
        assert main(command) == 0
    assert "vectors.parquet: 4 texts, 32 numbers each" in capsys.readouterr().out
    found = load_study(survey).tasks.embedding
    wanted = means(model, load_encoder(tmp_path / "encoder"))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("nowhere", "no such folder"),
        ("./elsewhere", "no such folder"),
        (".", "config.json: no such"),
    ],
)
def test_an_encoder_that_is_none(survey, monkeypatch, argument, told, capsys):
    assert main(["embed", str(survey), "--model", argument]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_tasks_without_texts_are_not_embedded(survey, tmp_path, capsys):
    survey.write_text(STUDY.replace("text: text, ", ""))
    make(tmp_path / "encoder")
    assert main(["embed", str(survey), "--model", "encoder"]) == 2
    assert "study.tasks.text" in capsys.readouterr().err
    assert not (tmp_path / "survey-embeddings.parquet").exists()
