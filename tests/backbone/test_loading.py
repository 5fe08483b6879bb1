"""Loading: every refusal names its place; bf16, sharded files and the memory bound."""

import gc
import json
import tracemalloc

import families
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
import vocabularies
from flax import nnx
from safetensors.numpy import load_file, save_file

from crowdllm_jax.backbone.architecture import read_architecture
from crowdllm_jax.backbone.hub import fingerprint, load_tokenizer, locate, read_json
from crowdllm_jax.backbone.weights import load, load_weights
from crowdllm_jax.errors import CrowdError


@pytest.fixture
def folder(tmp_path):
    families.make("llama3", tmp_path)
    return tmp_path


def weights_of(folder, dtype=jnp.float32):
    a = read_architecture(read_json(folder / "config.json"), str(folder / "config.json"))
    return dict(nnx.to_flat_state(load_weights(folder, a, dtype)[1]))


def edit_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_leftover_tensor_is_refused(folder):
    edit_tensors(folder, lambda t: t.update({"model.layers.0.extra.weight": np.ones(3)}))
    with pytest.raises(CrowdError, match=r"no place for tensor model\.layers\.0\.extra\.weight"):
        weights_of(folder)


def test_layers_beyond_the_config_are_refused(folder):
    edit_config(folder, num_hidden_layers=2)
    with pytest.raises(CrowdError, match=r"model\.layers\.2\..* and \d+ more"):
        weights_of(folder)


def test_missing_tensor_is_refused(folder):
    edit_tensors(folder, lambda t: t.pop("model.layers.1.mlp.up_proj.bias"))
    with pytest.raises(CrowdError, match=r"model\.layers\.1\.mlp\.up_proj\.bias is missing"):
        weights_of(folder)


def test_wrong_shape_is_refused(folder):
    edit_tensors(folder, lambda t: t.update({"model.norm.weight": np.ones(31, np.float32)}))
    with pytest.raises(CrowdError, match=r"model\.norm\.weight is \(31,\).*\(32,\)"):
        weights_of(folder)


def test_integer_tensor_is_refused(folder):
    edit_tensors(folder, lambda t: t.update({"model.norm.weight": np.ones(32, np.int8)}))
    with pytest.raises(CrowdError, match="stored as I8"):
        weights_of(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, "`model_type` is 'mamba'.*llama.*gemma3_text"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "`rope_type` is 'yarn'"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 4.0}}, "needs 'low_freq_factor'"),
        ({"hidden_act": "relu"}, "`hidden_act` is 'relu'"),
        ({"quantization_config": {"bits": 4}}, "`quantization_config`"),
        ({"partial_rotary_factor": 0.5}, "`partial_rotary_factor`"),
        ({"num_key_value_heads": 3}, "`num_key_value_heads` is 3"),
        ({"hidden_size": None}, "`hidden_size` is missing"),
        ({"vocab_size": "many"}, "`vocab_size` is 'many'"),
    ],
)
def test_config_is_refused_by_key(folder, change, message):
    edit_config(folder, **change)
    with pytest.raises(CrowdError, match=message) as error:
        weights_of(folder)
    assert "config.json" in str(error.value)


def test_what_transformers_dequantised_from_gguf_loads(folder):
    wanted = weights_of(folder)
    edit_config(folder, quantization_config={"quant_method": "gguf", "gguf_file": "tiny.gguf"})
    for path, leaf in weights_of(folder).items():
        np.testing.assert_array_equal(leaf[...], wanted[path][...])


def test_damaged_files_are_named(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(CrowdError, match=r"config\.json: not readable as JSON"):
        weights_of(folder)
    families.make("llama3", folder)
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CrowdError, match=r"model\.safetensors: cannot be read"):
        weights_of(folder)


def test_places_that_are_no_model(tmp_path):
    with pytest.raises(CrowdError, match="no such folder, and not a hub id"):
        locate(tmp_path / "nowhere")
    with pytest.raises(CrowdError, match=r"config\.json: no such file"):
        load(tmp_path)
    with pytest.raises(CrowdError, match="dtype is 'int8'"):
        load(tmp_path, dtype="int8")
    families.make("llama2", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CrowdError, match=r"neither model\.safetensors nor its index"):
        weights_of(tmp_path)


def test_sharded_files_give_the_same(folder, tmp_path):
    whole = weights_of(folder)
    parts = tmp_path / "parts"
    model = families.make("llama3", folder)
    model.save_pretrained(parts, max_shard_size="20KB")
    assert len(list(parts.glob("*.safetensors"))) > 2
    for path, leaf in weights_of(parts).items():
        np.testing.assert_array_equal(leaf[...], whole[path][...])


def test_bfloat16_files_and_weights(folder, tmp_path):
    wanted = weights_of(folder, jnp.bfloat16)
    assert all(leaf[...].dtype == jnp.bfloat16 for leaf in wanted.values())
    half = tmp_path / "half"
    families.make("llama3", folder).to(torch.bfloat16).save_pretrained(half)
    assert load_file(half / "model.safetensors")["model.norm.weight"].dtype == ml_dtypes.bfloat16
    for path, leaf in weights_of(half, jnp.bfloat16).items():
        np.testing.assert_array_equal(leaf[...], wanted[path][...])


def test_tied_copies_and_rope_constants_are_no_leftovers(tmp_path):
    families.make("qwen3", tmp_path)

    def add(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(8, np.float32)

    edit_tensors(tmp_path, add)
    assert ("head",) not in weights_of(tmp_path)


@pytest.mark.parametrize("prefix", ["model.language_model.", "language_model.model."])
def test_text_part_of_a_multimodal_gemma3(tmp_path, prefix):
    families.make("gemma3", tmp_path)
    wanted = weights_of(tmp_path)

    def nest(tensors):
        for name in list(tensors):
            tensors[name.replace("model.", prefix, 1)] = tensors.pop(name)
        tensors["vision_tower.patch.weight"] = np.ones(2, np.float32)

    edit_tensors(tmp_path, nest)
    text = read_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "gemma3", "text_config": text, "vision_config": {}})
    )
    for path, leaf in weights_of(tmp_path).items():
        np.testing.assert_array_equal(leaf[...], wanted[path][...])


def test_the_host_holds_one_tensor_at_a_time(tmp_path):
    """64 layers of one 128 KiB matrix each way: the peak stays at a few matrices, not at 64."""
    families.make("llama2", tmp_path, num_hidden_layers=64, intermediate_size=1024)
    weights_of(tmp_path)  # compile first: the compiler's own allocations are not the loader's
    peaks = []
    for _ in range(3):
        gc.collect()
        tracemalloc.start()
        weights_of(tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Other parts of the process may allocate meanwhile, which only adds: the least is the loader's.
    peak = min(peaks)
    matrix, stack = 4 * 32 * 1024, 4 * 32 * 1024 * 64
    assert matrix < peak < stack / 4


@pytest.mark.parametrize("family", ["llama2", "qwen2", "qwen3", "gemma2"])
def test_the_tokenizer_is_the_one_in_the_file(tmp_path, family):
    families.make(family, tmp_path)
    wanted = vocabularies.save(vocabularies.sentencepiece(), tmp_path, vocabularies.CHAT)
    found = load_tokenizer(tmp_path)
    text = "How offensive ?\n- 10 strongly\n"
    assert found(text)["input_ids"] == wanted(text)["input_ids"]
    assert (found.chat_template, found.bos_token) == (vocabularies.CHAT, "<s>")


def test_a_missing_tokenizer_is_told(folder):
    with pytest.raises(CrowdError, match="the tokenizer cannot be loaded"):
        load(folder)


def test_a_local_model_is_known_by_its_content(tmp_path):
    """Moved to another folder of the same name, it still finds its cached answers."""
    revisions = []
    for place in ("here", "there"):
        families.make("llama2", tmp_path / place / "tiny", vocab_size=160)
        vocabularies.save(vocabularies.sentencepiece(), tmp_path / place / "tiny")
        loaded = load(tmp_path / place / "tiny")
        assert loaded.name == "tiny"
        revisions.append(loaded.revision)
    assert revisions[0] == revisions[1] != load(tmp_path / "here/tiny", dtype="bfloat16").revision


def test_fingerprint_follows_the_weights(folder):
    before = fingerprint(folder)
    assert fingerprint(folder) == before
    edit_tensors(folder, lambda t: t.update({"model.norm.weight": t["model.norm.weight"] + 1}))
    assert fingerprint(folder) != before
