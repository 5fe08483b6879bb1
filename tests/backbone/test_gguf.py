"""GGUF files: the same model as the Hugging Face folder they were made from, on every family."""

import gc
import json
import re
import tracemalloc
import warnings
from functools import partial

import families
import gguf_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize
from jax.sharding import SingleDeviceSharding

from crowdllm_jax.backbone import hub
from crowdllm_jax.backbone.gguf.tensors import GgufTensors
from crowdllm_jax.backbone.hub import header_of, load_architecture, locate
from crowdllm_jax.backbone.sentence_encoder import load_encoder
from crowdllm_jax.backbone.weights import load, load_weights, outline
from crowdllm_jax.errors import CrowdError, CrowdWarning

TOKENS = np.random.default_rng(0).integers(3, families.VOCAB, (2, 40))
# What GGUF does not keep: a window in Mistral's and Qwen's files.
CHANGES = {"mistral": {"sliding_window": None}, "qwen2": {"use_sliding_window": False}}
FLOATS = ("F32", "F16", "BF16")
TYPES = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL")


@pytest.fixture(scope="module", params=list(families.FAMILIES))
def pair(request, tmp_path_factory):
    """A checkpoint's folder, and the file made from it."""
    folder = tmp_path_factory.mktemp(request.param)
    families.make(request.param, folder, **CHANGES.get(request.param, {}))
    return folder, gguf_files.convert(folder, folder / "tiny.gguf")


@pytest.fixture
def tiny(tmp_path):
    """A folder for a file of the plainest family."""
    families.make("llama2", tmp_path / "hf")
    return tmp_path / "hf"


def run_decoder(place):
    a = load_architecture(place)
    graph, weights = load_weights(place, a, jnp.float32)

    @jax.jit
    def run(weights):
        model = nnx.merge(graph, weights)
        places = jnp.broadcast_to(jnp.arange(TOKENS.shape[1]), TOKENS.shape)
        return model.logits(model(jnp.asarray(TOKENS), places, jnp.zeros_like(places)))

    with jax.default_matmul_precision("highest"):
        return np.asarray(run(weights)), weights


def test_a_file_gives_the_logits_of_its_folder(pair):
    folder, path = pair
    (wanted, weights), (found, ours) = run_decoder(folder), run_decoder(path)
    assert wanted.std() > 0.3
    # Norms and rope factors make a detour through float32: a rounding each.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    theirs = dict(nnx.to_flat_state(weights))
    for name, leaf in nnx.to_flat_state(ours):
        np.testing.assert_allclose(leaf[...], theirs[name][...], rtol=0, atol=3e-7)


@pytest.mark.parametrize("name", [*FLOATS, *TYPES])
def test_each_type_is_dequantised_bit_for_bit(tiny, tmp_path, name):
    """Rows of four blocks, by the decoder's order of queries for the llama architecture."""
    kind = GGMLQuantizationType[name]
    size = GGML_QUANT_SIZES[kind][1]
    rng = np.random.default_rng(1)
    if name in FLOATS:
        stored = quantize(rng.normal(size=(32, 32)).astype(np.float32), kind)
    else:  # any bytes are weights, but for scales that are not finite
        stored = rng.integers(0, 0x78, (32, 4 * size), np.uint8)
    path = tmp_path / "one.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_tensor("blk.0.attn_q.weight", stored, raw_dtype=kind)
    writer.add_tensor("blk.0.attn_v.weight", stored, raw_dtype=kind)
    gguf_files.finish(writer)
    wanted = dequantize(stored, kind)
    families.make("llama2", tmp_path / "shape", hidden_size=32)
    a = load_architecture(tmp_path / "shape")
    tensors = GgufTensors(header_of(path), a)
    read = partial(
        tensors.array, shape=wanted.shape, sharding=SingleDeviceSharding(jax.devices()[0])
    )
    plain = np.asarray(read("blk.0.attn_v.weight", dtype=jnp.dtype(jnp.float32)))
    assert plain.tobytes() == np.ascontiguousarray(wanted).tobytes()
    turned = np.asarray(read("blk.0.attn_q.weight", dtype=jnp.dtype(jnp.float32)))
    assert gguf_files.permuted(turned, 32 // a.head_dim).tobytes() == plain.tobytes()
    half = np.asarray(read("blk.0.attn_v.weight", dtype=jnp.dtype(jnp.bfloat16)))
    np.testing.assert_array_equal(half, wanted.astype(jnp.bfloat16))


def test_a_type_that_cannot_be_read_is_named(tiny, tmp_path):
    path = gguf_files.convert(tiny, tmp_path / "tiny.gguf")
    data = path.read_bytes()
    name = b"blk.0.ffn_up.weight"
    place = data.index(name) + len(name) + 4 + 2 * 8
    for kind, message in ((26, "stored as I32, which the gguf package"), (999, "type number 999")):
        path.write_bytes(data[:place] + kind.to_bytes(4, "little") + data[place + 4 :])
        with pytest.raises(CrowdError, match=message):
            run_decoder(path)


def test_quantised_matrices_on_a_whole_model(tmp_path):
    families.make("qwen3", tmp_path, hidden_size=64, intermediate_size=96)
    exact, _ = run_decoder(gguf_files.convert(tmp_path, tmp_path / "f32.gguf"))
    kind = GGMLQuantizationType.Q8_0
    rough, _ = run_decoder(gguf_files.convert(tmp_path, tmp_path / "q8.gguf", kind=kind))
    assert np.corrcoef(exact.ravel(), rough.ravel())[0, 1] > 0.99


def test_a_model_in_parts(tiny, tmp_path):
    whole, _ = run_decoder(gguf_files.convert(tiny, tmp_path / "tiny.gguf"))
    parts = tmp_path / "parts"
    parts.mkdir()
    gguf_files.convert(tiny, parts / "tiny.gguf", split=10)
    files = sorted(parts.glob("*.gguf"))
    assert len(files) > 2
    assert files[0].name == f"tiny-00001-of-{len(files):05d}.gguf"
    for place in (parts, files[0]):
        found, _ = run_decoder(locate(place)[0])
        np.testing.assert_array_equal(found, whole)
    swapped = files[1].read_bytes(), files[2].read_bytes()
    files[2].write_bytes(swapped[0])
    with pytest.raises(CrowdError, match="by what it holds it is part 2 of"):
        header_of(files[0])
    files[2].unlink()
    with pytest.raises(CrowdError, match=f"part 3 of {len(files)} is missing; put {files[2].name}"):
        header_of(files[0])


def test_the_model_is_known_by_its_content(tiny, tmp_path):
    path = gguf_files.convert(tiny, tmp_path / "tiny.gguf")
    found = load(path, dtype="float32")
    assert found.name == "tiny.gguf"
    moved = tmp_path / "elsewhere" / "tiny.gguf"
    moved.parent.mkdir()
    moved.write_bytes(path.read_bytes())
    assert outline(moved, dtype="float32").revision == found.revision
    moved.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    assert outline(moved, dtype="float32").revision != found.revision


def test_files_that_are_no_model(tiny, tmp_path):
    for name in ("model.safetensors", "config.json"):
        with pytest.raises(CrowdError, match=f"{name}: a file, and not a GGUF one; .*folder"):
            load(tiny / name)
    with pytest.raises(CrowdError, match=r"models/none\.gguf: no such file"):
        load("models/none.gguf")  # of two parts, as a hub id is
    text = tmp_path / "text.gguf"
    text.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(CrowdError, match=r"text\.gguf: not a GGUF file"):
        load(text)


def test_a_folder_of_files(tiny, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    path = gguf_files.convert(tiny, folder / "a.gguf")
    assert locate(folder) == (path, None)
    path.rename(folder / "sha256-0123")  # as Ollama keeps them
    assert outline(folder / "sha256-0123").architecture.layers == 3
    for name in ("b.gguf", "c.gguf"):
        gguf_files.convert(tiny, folder / name)
    with pytest.raises(CrowdError, match=r"several models \(b\.gguf, c\.gguf\); name the file"):
        locate(folder)


def test_a_sentence_encoder_is_none(tiny, tmp_path):
    path = gguf_files.convert(tiny, tmp_path / "tiny.gguf")
    with pytest.raises(CrowdError, match=r"tiny\.gguf: sentence encoders are read from"):
        load_encoder(path)


def test_without_the_package(tiny, tmp_path, monkeypatch):
    path = gguf_files.convert(tiny, tmp_path / "tiny.gguf")
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(CrowdError, match=re.escape("pip install 'crowdllm-jax[gguf]'")):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.add_uint32("llama.expert_count", 8), "`llama.expert_count` is 8"),
        (lambda w: w.add_array("llama.expert_count", [0, 8]), "not the same in all layers"),
        (lambda w: w.add_array("llama.rope.scaling.type", [1, 2]), "it may be: a name"),
        (lambda w: w.add_rope_dimension_count(4), "`llama.rope.dimension_count` is 4"),
        (lambda w: w.add_block_count(2**31), "`llama.block_count` is 2147483648"),
        (lambda w: w.add_key_length(2**31), "`llama.attention.key_length` is 2147483648"),
        (lambda w: w.add_head_count([4, 4, 2]), "`llama.attention.head_count` is 'not the same"),
        (lambda w: w.add_layer_norm_rms_eps(float("nan")), "layer_norm_rms_epsilon` is nan"),
        (lambda w: w.add_embedding_length(64), r"attn_norm\.weight is \(32,\).*\(64,\)"),
        (lambda w: w.add_string("llama.rope.scaling.type", "yarn"), "`rope_type` is 'yarn'"),
        (
            lambda w: w.add_string("tokenizer.ggml.model", "bert"),
            "`tokenizer.ggml.model` is 'bert'",
        ),
        (lambda w: w.add_tokenizer_pre("chameleon"), "`tokenizer.ggml.pre` is 'chameleon'"),
        (lambda w: w.add_token_list(["a"] * 64), "a token is in its vocabulary twice"),
        (lambda w: w.add_token_list(["a" * 9999]), "tokens have up to 9999 characters"),
        (lambda w: w.add_token_scores([0.0]), "scores` has 1 entries for 64 tokens"),
        (lambda w: w.add_string("general.architecture", "mamba"), "'mamba', which.*llama.*gemma3"),
    ],
)
def test_metadata_are_refused_by_key(tiny, tmp_path, change, message):
    def overwrite(writer):
        writer.kv_data[0] = gguf_files.Forgetful(writer.kv_data[0])
        change(writer)

    path = gguf_files.convert(tiny, tmp_path / "tiny.gguf", overwrite)
    with pytest.raises(CrowdError, match=message) as error:
        load(path)
    assert "tiny.gguf" in str(error.value)


def test_what_is_not_known_is_told(tiny, tmp_path):
    change = lambda w: w.add_float32("llama.attention.new_trick", 2.0)  # noqa: E731
    path = gguf_files.convert(tiny, tmp_path / "tiny.gguf", change)
    with pytest.warns(CrowdWarning, match=r"`llama\.attention\.new_trick` is ignored"):
        load_architecture(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_architecture(gguf_files.convert(tiny, tmp_path / "plain.gguf"))


def test_gemma_scales_its_largest_models_by_width(tmp_path):
    """google/gemma-3-27b: query_pre_attn_scalar 168 = 5376 / 32, heads of 128 in a file."""
    families.make("gemma3", tmp_path, num_hidden_layers=62, layer_types=None)
    config = json.loads((tmp_path / "config.json").read_text())
    shape = GGUFWriter(tmp_path / "x.gguf", "gemma3")
    gguf_files.write_shape(shape, config)
    path = gguf_files.convert(
        tmp_path, tmp_path / "tiny.gguf", lambda w: w.kv_data[0].pop("gemma3.attention.scale")
    )
    assert load_architecture(path).query_scale == pytest.approx((32 / 4) ** -0.5)


def test_the_host_holds_one_tensor_at_a_time(tmp_path):
    """64 layers of one 128 KiB matrix each way: the peak stays at a few matrices, not at 64."""
    families.make("llama2", tmp_path, num_hidden_layers=64, intermediate_size=1024)
    path = gguf_files.convert(tmp_path, tmp_path / "tiny.gguf")
    a = load_architecture(path)
    load_weights(path, a, jnp.float32)  # compile first
    peaks = []
    for _ in range(3):
        gc.collect()
        tracemalloc.start()
        load_weights(path, a, jnp.float32)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    matrix, stack = 4 * 32 * 1024, 4 * 32 * 1024 * 64
    assert matrix < min(peaks) < stack / 4
