"""Tuning against PEFT on torch: the loss, its gradients, what is written; and its laws."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import families
import jax
import numpy as np
import pytest
import torch
import transformers
import vocabularies as v
from small_tuning import CONFIG, SHORT, examples_of, many, tuned

from crowdllm_jax.backbone.decoder import Lora
from crowdllm_jax.backbone.scoring import padded, run_rows
from crowdllm_jax.backbone.tune import train
from crowdllm_jax.backbone.tune.adapter import form_of, lower_layers, merge, start
from crowdllm_jax.backbone.tune.answer import early_answers
from crowdllm_jax.backbone.tune.examples import Batches, until_task
from crowdllm_jax.backbone.tune.loss import log_shares, terms
from crowdllm_jax.backbone.tune.peft import Adapter, read_adapter, write_adapter
from crowdllm_jax.backbone.weights import load

peft = pytest.importorskip("peft")
# Of PEFT, about transformers.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")

LORA = Lora(3, 5.0, ("q", "v", "o", "gate", "down"))


def loud(arrays, seed=1):
    """Adapters (and a head) all of whose numbers matter."""
    random = np.random.default_rng(seed)
    return {
        name: 0.1 * random.normal(size=array.shape).astype(np.float32)
        for name, array in arrays.items()
    }


@pytest.fixture(scope="module", params=["llama3", "qwen2", "gemma3"])
def family(request, tmp_path_factory):
    """A folder with a tiny checkpoint, and the backbone."""
    folder = tmp_path_factory.mktemp(request.param)
    families.make(request.param, folder, vocab_size=160)
    v.save(v.sentencepiece(), folder, None)
    with jax.default_matmul_precision("highest"):
        yield folder, load(folder, dtype="float32")


def in_torch(folder, adapters):
    """PEFT's model of the checkpoint with the adapters that we have written."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    return peft.PeftModel.from_pretrained(model.eval(), adapters, is_trainable=True)


def torch_loss(log_shares, examples, ordinal):
    """The definition, example by example."""
    total = weight = 0.0
    for e, logq in zip(examples, log_shares, strict=True):
        p, q = torch.tensor(e.shares), logq.exp()
        known = p > 0
        divergence = (p[known] * (p[known].log() - logq[known])).sum()
        gap = (p - q).cumsum(0)[:-1]
        total += e.weight * (divergence + ordinal * (gap**2 * torch.tensor(e.steps)).sum())
        weight += e.weight
    return total / weight


def by_option(model, example):
    """Log-shares of the options, each asked alone behind the whole prompt."""
    logs = []
    for option in example.encoded.options:
        logits = model(torch.tensor([example.encoded.prompt + option])).logits[0].double()
        logp = logits.log_softmax(-1)
        n = len(example.encoded.prompt)
        logs.append(sum(logp[n - 1 + i, token] for i, token in enumerate(option)))
    return torch.stack(logs).log_softmax(0)


def gradients_of(model, arrays, lora):
    """PEFT's gradients under our names."""
    parameters = dict(model.named_parameters())
    module = {"q": "self_attn.q", "v": "self_attn.v", "o": "self_attn.o"}
    found = {}
    for target in lora.targets:
        for part in "ab":
            name = f"{target}_lora_{part}"
            found[name] = np.stack(
                [
                    parameters[
                        f"base_model.model.model.layers.{i}.{module.get(target, f'mlp.{target}')}"
                        f"_proj.lora_{part.upper()}.default.weight"
                    ].grad.numpy()
                    for i in range(len(arrays[name]))
                ]
            )
    return found


def close(ours, theirs, tolerance=1e-4):
    """Relative to the largest number of each array."""
    for name, right in theirs.items():
        gap = np.abs(np.asarray(ours[name]) - right).max()
        assert gap <= tolerance * np.abs(right).max(), (name, gap, np.abs(right).max())


def test_loss_and_gradients_equal_peft(family, tmp_path):
    folder, backbone = family
    examples, form = examples_of(backbone), form_of(backbone, LORA)
    arrays = loud(start(form, (0,), None))
    # A row more than there are examples: it fills up, and counts for nothing.
    batch = Batches(examples, 4).batch(np.arange(3))
    loss, ours = jax.value_and_grad(lambda a: terms(form, backbone.weights, a, batch).loss(0.7))(
        arrays
    )
    write_adapter(tmp_path, str(folder), LORA, arrays)
    model = in_torch(folder, tmp_path)
    theirs = torch_loss([by_option(model, e) for e in examples], examples, 0.7)
    theirs.backward()
    np.testing.assert_allclose(float(loss), theirs.item(), rtol=1e-4)
    close(ours, gradients_of(model, arrays, LORA))


def test_the_early_exit_equals_torch(family, tmp_path):
    """Two of three layers, the last norm, the mean over the task's own tokens, and the head; with
    everything kept for the backward pass."""
    folder, whole = family
    backbone, examples = lower_layers(whole, 2), examples_of(whole)
    form = form_of(backbone, LORA, recompute=False)
    arrays = loud(start(form, (0,), np.zeros((2, 3))))
    batch = Batches([until_task(e) for e in examples], 4).batch(np.arange(3))
    loss, ours = jax.value_and_grad(lambda a: terms(form, backbone.weights, a, batch).loss(0.7))(
        arrays
    )
    write_adapter(tmp_path, str(folder), LORA, arrays)
    model = in_torch(folder, tmp_path)
    inner = model.base_model.model.model
    inner.layers = inner.layers[:2]
    head, bias = (torch.tensor(arrays[name], requires_grad=True) for name in ("head", "bias"))
    logs = []
    for e in examples:
        begin, end = e.encoded.task
        state = inner(torch.tensor([e.encoded.prompt])).last_hidden_state[0, begin:end].mean(0)
        k = len(e.shares)
        logs.append((head[e.scale, :k] @ state + bias[e.scale, :k]).double().log_softmax(0))
    theirs = torch_loss(logs, examples, 0.7)
    theirs.backward()
    np.testing.assert_allclose(float(loss), theirs.item(), rtol=1e-4)
    close(
        ours,
        gradients_of(model, arrays, LORA) | {"head": head.grad.numpy(), "bias": bias.grad.numpy()},
    )
    # And what it answers with what was written.
    adapter = read_adapter(tmp_path)
    scale = np.array([e.scale for e in examples])
    told = []
    answers = early_answers(
        whole, adapter, [e.encoded for e in examples], scale, 2, lambda *_: told.append(_)
    )
    for answer, log in zip(answers, logs, strict=True):
        np.testing.assert_allclose(answer.probs, log.exp().detach(), atol=1e-4)
    assert told[-1] == (3, 3)


def test_merged_adapters_answer_as_peft(family, tmp_path):
    folder, backbone = family
    examples = examples_of(backbone)
    arrays = loud(start(form_of(backbone, LORA), (0,), None))
    write_adapter(tmp_path, str(folder), LORA, arrays)
    kept = read_adapter(tmp_path)
    merged = merge(backbone, kept.lora, kept.arrays)
    rows = Batches(examples, 3).batch(np.arange(3)).rows
    logp, _ = run_rows(merged.graph, merged.weights, rows, None)
    model = in_torch(folder, tmp_path)
    with torch.no_grad():
        for place, e in enumerate(examples):
            ours = np.asarray(logp[place, : len(e.shares)], np.float64)
            theirs = by_option(model, e).numpy()
            np.testing.assert_allclose(ours - np.logaddexp.reduce(ours), theirs, rtol=0, atol=2e-4)


def test_adapters_that_are_new_change_nothing(family):
    _, backbone = family
    arrays = start(form_of(backbone, LORA), (0,), None)
    merged = merge(backbone, LORA, arrays)
    jax.tree.map(np.testing.assert_array_equal, merged.weights, backbone.weights)


# --- laws of the training ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    families.make("llama3", folder, vocab_size=160)
    v.save(v.sentencepiece(), folder, None)
    return folder


@pytest.fixture(scope="module")
def straight(tiny, tmp_path_factory):
    """A tuning that nothing interrupts, and what it told."""
    told = []
    folder = tmp_path_factory.mktemp("straight")
    return tuned(tiny, folder / "c", lambda *how: told.append(how)), told


def test_tuning_learns_and_says_how_it_goes(straight):
    result, told = straight
    assert result.loss < result.before - 0.1
    assert told[0] == (0, 15, "")
    done, total, text = told[1]
    assert (done, total) == (5, 15)
    assert "tokens/s" in text
    assert "GB" in text
    assert "of the matrix product" in text
    assert told[-1][:2] == (15, 15)


def test_tuning_that_does_not_help_is_not_taken(tiny, tmp_path):
    """People who answer the validation tasks as the model does already: any change is for the
    worse."""
    backbone = load(tiny, dtype="float32")
    examples, form = many(backbone), form_of(backbone, Lora(2, 32.0, ("q", "up")))
    new = start(form, (0,), None)
    held = Batches(examples[18:], 4).batch(np.arange(4))
    logs = log_shares(form, backbone.weights, new, held.rows, held.scale, held.offered)
    mine = np.exp(np.asarray(logs, np.float64))
    pleased = [replace(e, shares=p / p.sum()) for e, p in zip(examples[18:], mine, strict=True)]
    result = train.tune(
        backbone, examples[:18], pleased, CONFIG, tmp_path / "c", (0,), (3,), lambda *_: None
    )
    assert result.loss == result.before == pytest.approx(0, abs=1e-6)
    assert not result.arrays["q_lora_b"].any()


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from crowdllm_jax.backbone.tune import train
import small_tuning
train.SAVE = 2
told = []
def report(done, total, text):
    told.append(done)
    if done == 10:  # the end of the second epoch has been reported twice: in it, and after it
        if told.count(10) == {times}:
            os.kill(os.getpid(), signal.SIGKILL)
small_tuning.tuned(Path({folder!r}), Path({checkpoints!r}), report)
"""


@pytest.mark.parametrize("times", [1, 2])
def test_a_kill_changes_no_bit(tiny, straight, tmp_path, times):
    script = KILLED.format(
        tests=str(Path(__file__).parent),
        folder=str(tiny),
        checkpoints=str(tmp_path / "killed"),
        times=times,
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    told = []
    resumed = tuned(tiny, tmp_path / "killed", lambda *how: told.append(how[0]))
    assert 0 < told[0] <= 10  # it went on, and did not begin anew
    whole, _ = straight
    assert resumed.loss == whole.loss
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(resumed.arrays[name], array)


SHARDED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import jax, numpy as np
import small_tuning
from jax.sharding import AxisType
jax.config.update("jax_default_matmul_precision", "highest")
mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
place = Path({place!r})
from crowdllm_jax.backbone.weights import load
weights = load({folder!r}, dtype="float32", mesh=mesh).weights
q = weights["block"]["q"][...]
assert q.addressable_shards[0].data.nbytes * 2 == q.nbytes
tuned = small_tuning.tuned(Path({folder!r}), place / "c", mesh=mesh, config=small_tuning.SHORT)
np.savez(place / "four.npz", loss=tuned.loss, **tuned.arrays)
"""


def test_a_mesh_of_devices_tunes_as_one(tiny, tmp_path):
    script = SHARDED.format(tests=str(Path(__file__).parent), folder=str(tiny), place=str(tmp_path))
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=4"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=False,
        env=os.environ | {"XLA_FLAGS": flags},
    )
    assert ended.returncode == 0, ended.stderr.decode()
    one, four = tuned(tiny, tmp_path / "one", config=SHORT), np.load(tmp_path / "four.npz")
    assert np.abs(one.arrays["q_lora_b"]).max() > 1e-3
    for name, array in (one.arrays | {"loss": one.loss}).items():
        np.testing.assert_allclose(four[name], array, rtol=0, atol=1e-5)


def test_what_is_written_is_read_back(tiny, tmp_path):
    backbone = load(tiny, dtype="float32")
    arrays = loud(start(form_of(backbone, LORA), (0,), np.zeros((2, 3))))
    write_adapter(tmp_path, "org/name", LORA, arrays)
    kept = read_adapter(tmp_path)
    assert isinstance(kept, Adapter)
    assert (kept.lora, kept.layers) == (LORA, 3)
    jax.tree.map(np.testing.assert_array_equal, kept.arrays, arrays)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/name"
    assert config["target_modules"] == ["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]


def test_one_program_per_length(tiny, tmp_path):
    """However many batches and epochs there are."""
    before = train.train_step._cache_size()
    tuned(tiny, tmp_path / "c")
    first = train.train_step._cache_size() - before
    backbone = load(tiny, dtype="float32")
    lengths = {padded(len(e.encoded.prompt)) for e in many(backbone)}
    assert first <= len(lengths)
