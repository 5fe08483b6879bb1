"""Weights that stay quantised: the dense path's numbers, in a part of its memory."""

from dataclasses import replace
from functools import partial
from itertools import combinations

import families
import gguf_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize
from jax.sharding import SingleDeviceSharding

from crowdllm_jax.backbone.architecture import Architecture, Rope
from crowdllm_jax.backbone.decoder import Decoder
from crowdllm_jax.backbone.gguf.packing import TYPES
from crowdllm_jax.backbone.gguf.tensors import MATRICES, GgufTensors
from crowdllm_jax.backbone.hub import header_of, load_architecture
from crowdllm_jax.backbone.packed import PackedMatrix, bytes_of, joint
from crowdllm_jax.backbone.weights import device_bytes, load_weights, packings
from crowdllm_jax.errors import CrowdError

TOKENS = np.random.default_rng(0).integers(3, families.VOCAB, (2, 40))


def packed_of(files, names, shape, packing):
    """The dense matrices of some tensors, made from what is kept of them."""
    module = PackedMatrix(1, *shape, packing)
    dense = []
    for name in names:
        for part, (size, dtype) in packing.parts(*shape).items():
            device = SingleDeviceSharding(jax.devices()[0])
            array = files.packed(part, packing).array(name, size, dtype, device)
            setattr(module, part, nnx.Param(array))
        dense.append(np.asarray(jax.jit(lambda m: m.dense(jnp.float32))(module)))
    return dense


@pytest.mark.parametrize(
    "kinds",
    [*([k] for k in TYPES), *([a, b] for a, b in combinations(TYPES, 2)), list(TYPES)],
    ids="-".join,
)
def test_numbers_are_the_dequantisers_bit_for_bit(tmp_path, kinds):
    """Alone and in company of other types, in the decoder's order of queries."""
    families.make("llama2", tmp_path / "shape", **gguf_files.WIDE)
    a = load_architecture(tmp_path / "shape")
    writer = GGUFWriter(tmp_path / "x.gguf", "llama")
    wanted = {}
    for layer, kind in enumerate(kinds):
        sort = GGMLQuantizationType[kind]
        stored = gguf_files.random_bytes(kind, 256, 512, layer)
        for matrix in ("ffn_down", "attn_q"):
            writer.add_tensor(f"blk.{layer}.{matrix}.weight", stored, raw_dtype=sort)
            wanted[f"blk.{layer}.{matrix}.weight"] = dequantize(stored, sort)
    gguf_files.finish(writer)
    files = GgufTensors(header_of(tmp_path / "x.gguf"), a)
    packing = joint([TYPES[kind].packing for kind in kinds])
    for name, dense in zip(wanted, packed_of(files, wanted, (256, 512), packing), strict=True):
        assert np.isfinite(dense).all()
        assert dense.std() > 1e-3
        turned = gguf_files.permuted(dense, 256 // a.head_dim) if "attn_q" in name else dense
        np.testing.assert_array_equal(turned, wanted[name])


def compiled(path, packed, mesh=None):
    a = load_architecture(path)
    graph, weights = load_weights(path, a, jnp.float32, mesh, packed)

    @jax.jit
    def run(weights):
        model = nnx.merge(graph, weights)
        places = jnp.broadcast_to(jnp.arange(TOKENS.shape[1]), TOKENS.shape)
        return model.logits(model(jnp.asarray(TOKENS), places, jnp.zeros_like(places)))

    return run.lower(weights).compile(), weights


@pytest.mark.parametrize("kinds", [["Q8_0"] * 4, ["Q4_0"] * 4, ["Q4_K"] * 4, ["Q4_K", "Q6_K"] * 2])
def test_a_model_answers_as_its_dense_one(tmp_path, kinds):
    path = gguf_files.quantised(tmp_path / "hf", tmp_path / "x.gguf", kinds)
    packed = packings(path, load_architecture(path))
    assert [name for name, _ in packed] == list(MATRICES)
    with jax.default_matmul_precision("highest"):
        dense, weights = compiled(path, ())
        own, ours = compiled(path, packed)
    wanted = np.asarray(dense(weights))
    assert wanted.std() > 0.1
    np.testing.assert_allclose(np.asarray(own(ours)), wanted, rtol=0, atol=1e-5 * wanted.std())
    # What lies on the device: bits of a number, all told, of these types kept so.
    bits = {"Q8_0": 8.5, "Q4_0": 4.5, "Q4_K": 4.625}.get(kinds[1], 9.125)
    matrices = weights["block"]
    numbers = sum(matrices[name][...].size for name in MATRICES)
    assert bytes_of([ours["block"][name] for name in MATRICES]) == numbers * bits / 8
    a = load_architecture(path)
    assert device_bytes(a, "float32", packed) == bytes_of(ours)
    assert device_bytes(a, "float32") == bytes_of(weights)
    # The scan makes one layer dense at a time: never all, which would be four bytes a number.
    if hasattr(own.memory_analysis(), "temp_size_in_bytes"):
        extra, usual = (f.memory_analysis().temp_size_in_bytes for f in (own, dense))
        assert extra - usual < 4 * numbers / len(kinds) * 1.5


def seven(vocab=32000):
    """The shapes of a model of 7B (Mistral's)."""
    return Architecture(
        family="mistral",
        vocab=vocab,
        width=4096,
        inner=14336,
        heads=32,
        kv_heads=8,
        head_dim=128,
        eps=1e-5,
        activation="silu",
        query_scale=128**-0.5,
        windows=(None,) * 32,
        ropes=(Rope(1e4),) * 32,
        tied=False,
        context=4096,
    )


def test_seven_billion_weights_fit_a_card_of_16_gb():
    """As Q4_K_M keeps them: values and the products of the layers in Q6_K in part."""
    some = joint([TYPES["Q4_K"].packing, TYPES["Q6_K"].packing])
    packed = tuple((n, some if n in ("v", "down") else TYPES["Q4_K"].packing) for n in MATRICES)
    dense, quantised = (device_bytes(seven(), "bfloat16", p) for p in ((), packed))
    assert 14.4e9 < dense < 14.6e9
    assert 5.5e9 < quantised < 5.9e9
    # Beside them one layer's dense matrices.
    layer = nnx.eval_shape(partial(Decoder, replace(seven(), windows=(None,), ropes=(Rope(1e4),))))
    assert quantised + bytes_of(nnx.state(layer.block)) / 2 < 6.5e9


def test_what_does_not_stay_quantised_is_told(tmp_path):
    families.make("qwen3", tmp_path / "hf", **gguf_files.WIDE)
    a = load_architecture(tmp_path / "hf")
    with pytest.raises(CrowdError, match="kept of a GGUF file"):
        packings(tmp_path / "hf", a)
    floats = gguf_files.convert(tmp_path / "hf", tmp_path / "f32.gguf")
    with pytest.raises(CrowdError, match=r"f32\.gguf.*nothing in the file is quantised"):
        packings(floats, a)
    other = gguf_files.convert(
        tmp_path / "hf", tmp_path / "iq.gguf", kind=GGMLQuantizationType.TQ2_0
    )
    with pytest.raises(CrowdError, match=r"blk\.0\.attn_q\.weight is stored as TQ2_0, and quant"):
        packings(other, a)


def test_factors_that_are_not_finite_are_refused(tmp_path):
    path = gguf_files.quantised(tmp_path / "hf", tmp_path / "x.gguf", ["Q8_0"])
    info = header_of(path).tensors["blk.0.ffn_up.weight"]
    data = bytearray(path.read_bytes())
    data[info.offset : info.offset + 2] = np.float16(np.inf).tobytes()
    path.write_bytes(data)
    a = load_architecture(path)
    with pytest.raises(Exception, match="not finite"):
        load_weights(path, a, jnp.float32, None, packings(path, a))


def test_two_devices_share_them(tmp_path):
    path = gguf_files.quantised(tmp_path / "hf", tmp_path / "x.gguf", ["Q4_K", "Q6_K"])
    packed = packings(path, load_architecture(path))
    mesh = jax.make_mesh((1, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    with jax.default_matmul_precision("highest"):
        one, weights = compiled(path, packed)
        two, shared = compiled(path, packed, mesh)
    codes = shared["block"]["down"]["codes"][...]
    assert codes.addressable_shards[0].data.nbytes * 2 == codes.nbytes
    wanted = np.asarray(one(weights))
    np.testing.assert_allclose(np.asarray(two(shared)), wanted, rtol=0, atol=1e-4 * wanted.std())
