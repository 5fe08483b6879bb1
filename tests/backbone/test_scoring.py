"""Packed, batched, prefix-shared scoring against torch, one option and one prompt at a time."""

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import families
import jax
import numpy as np
import pytest
import torch
import vocabularies as v

from crowdllm_jax.backbone import scoring
from crowdllm_jax.backbone.answers import LOW_MASS
from crowdllm_jax.backbone.cache import Cache
from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.backbone.tokens import encode
from crowdllm_jax.backbone.weights import load
from crowdllm_jax.errors import CrowdError

pytestmark = pytest.mark.filterwarnings("ignore:.*the options hold less than")

PROMPT = Prompt(user="{task}\n{persona}Options :\n{options}", persona="As {persona} .\n")
WORDS = ("not at all", "not", "agree strongly")  # several tokens each, one begins another
QUESTIONS = [
    Question("How offensive is this comment ?", ("1", "2", "3"), (1, 2, 3)),
    Question("The new park costs 1250 euros a year . You are all fools !", WORDS, (-1, 0, 2.5)),
    Question("Answer", ("1", "10"), (1, 10)),
    Question("How offensive is this comment ? You are all fools ! " * 2, ("1", "2"), (0, 1)),
]
PERSONAS = [
    Question("The new park costs 100 euros . " * 3, WORDS, (0, 1, 2), persona=f"a {who} of {age}")
    for who, age in [("nurse", 42), ("nurse", 4), ("person from the north", 100), ("fool", 10)]
]


def make(family, folder, chat=None, **changes):
    model = families.make(family, folder, **{"vocab_size": 160, **changes})
    v.save(v.sentencepiece(), folder, chat)
    return model


@pytest.fixture(scope="module", params=["llama3", "mistral", "qwen3", "gemma2", "gemma3"])
def pair(request, tmp_path_factory):
    """(torch model, our backbone) of one family; Qwen 3 with a chat template."""
    folder = tmp_path_factory.mktemp(request.param)
    model = make(request.param, folder, v.CHAT if request.param == "qwen3" else None)
    with jax.default_matmul_precision("highest"):
        yield model, load(folder, dtype="float32")


def brute_force(model, backbone, questions, prompt):
    """Each option alone behind its whole prompt: log-probabilities and the task's embedding."""
    for e in encode(backbone.tokenizer, prompt, questions):
        logps = []
        for option in e.options:
            with torch.no_grad():
                tokens = torch.tensor([e.prompt + option])
                out = model(tokens, output_hidden_states=True)
            logp = torch.log_softmax(out.logits[0].double(), -1)
            n = len(e.prompt)
            logps.append(sum(float(logp[n - 1 + i, t]) for i, t in enumerate(option)))
        begin, end = e.task
        yield np.array(logps), out.hidden_states[-1][0, begin:end].mean(0).numpy()


def check(model, backbone, questions, scored, prompt=PROMPT):
    for t, (logp, embedding) in enumerate(brute_force(model, backbone, questions, prompt)):
        p, k = np.exp(logp), len(logp)
        np.testing.assert_allclose(scored.probs[t, :k], p / p.sum(), rtol=0, atol=1e-4)
        assert (scored.probs[t, k:] == 0).all()
        np.testing.assert_allclose(np.log(scored.mass[t]), np.log(p.sum()), rtol=0, atol=2e-4)
        mean = p @ questions[t].values / p.sum()
        np.testing.assert_allclose(scored.mean[t], mean, rtol=0, atol=1e-3)
        if questions[t].persona:  # the task's, whoever answers: not kept once per persona
            assert scored.embedding is None or np.isnan(scored.embedding[t]).all()
        else:
            np.testing.assert_allclose(scored.embedding[t], embedding, rtol=0, atol=1e-4)


def test_packed_options_equal_brute_force(pair):
    model, backbone = pair
    check(model, backbone, QUESTIONS, scoring.score(backbone, QUESTIONS, PROMPT, batch=2))


def test_personas_with_a_shared_prefix_equal_brute_force(pair, monkeypatch):
    model, backbone = pair
    made = []
    whole = scoring._prefix
    monkeypatch.setattr(scoring, "_prefix", lambda b, t: made.append(len(t)) or whole(b, t))
    check(model, backbone, PERSONAS, scoring.score(backbone, PERSONAS, PROMPT, batch=4))
    assert len(made) == 1  # the prefix was computed, and once for all personas
    assert made[0] >= 32


def test_plain_tasks_share_the_instructions(pair, monkeypatch):
    """And what tasks have in common of their own text still counts in their embedding."""
    model, backbone = pair
    questions = [
        Question("How offensive is this comment ? You are all fools ! " + end, ("1", "2"), (1, 2))
        for end in ("agree", "agree strongly", "costs 100")
    ]
    monkeypatch.setattr(scoring, "_SHARED", 8)
    check(model, backbone, questions, scoring.score(backbone, questions, PROMPT))


def test_equal_prompts_keep_a_token_to_read_from(pair):
    """Where options are not listed, two questions may differ in nothing but them."""
    model, backbone = pair
    prompt = Prompt(user=PROMPT.user.replace("{options}", ""), persona=PROMPT.persona)
    twice = [PERSONAS[0], replace(PERSONAS[0], options=("3", "4"), values=(3, 4))]
    check(model, backbone, twice, scoring.score(backbone, twice, prompt), prompt)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    make("llama2", folder)
    return load(folder, dtype="float32")


def test_no_retrace(backbone):
    """A second run with other texts of the same lengths compiles nothing, and a first run one
    program per length bucket."""

    def tasks(word):
        return [Question(f"{word} " * n, ("1", "2"), (1, 2)) for n in range(1, 40)]

    before = scoring.run_rows._cache_size()
    scoring.score(backbone, tasks("agree"), PROMPT, batch=4)
    first = scoring.run_rows._cache_size() - before
    lengths = [len(e.prompt) for e in encode(backbone.tokenizer, PROMPT, tasks("agree"))]
    assert 2 <= first <= len({scoring.padded(n) for n in lengths})
    scoring.score(backbone, tasks("costs")[::-1], PROMPT, batch=4)
    assert scoring.run_rows._cache_size() - before == first


def test_batch_size_and_order_change_nothing(backbone):
    some = QUESTIONS + PERSONAS
    base = scoring.score(backbone, some, PROMPT, batch=8)
    other = scoring.score(backbone, some[::-1], PROMPT, batch=3)
    for name in ("probs", "mass", "mean", "embedding"):
        a, b = getattr(base, name), getattr(other, name)[::-1]
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_an_interrupted_run_resumes(backbone, tmp_path):
    cache, seen = Cache(tmp_path / "c.sqlite"), []

    def stop(done, total):
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scoring.score(backbone, QUESTIONS, PROMPT, batch=2, cache=cache, progress=stop)
    assert seen == [(0, 4), (2, 4)]
    seen.clear()
    resumed = scoring.score(
        backbone, QUESTIONS, PROMPT, batch=2, cache=cache, progress=lambda *n: seen.append(n)
    )
    assert seen == [(2, 4), (4, 4)]
    whole = scoring.score(backbone, QUESTIONS, PROMPT, batch=2)
    np.testing.assert_allclose(resumed.probs, whole.probs, atol=1e-6)
    np.testing.assert_allclose(resumed.embedding, whole.embedding, atol=1e-5)


def test_nothing_is_computed_twice(backbone, tmp_path, monkeypatch):
    cache, computed = Cache(tmp_path / "c.sqlite"), []
    real = scoring._answers

    def counting(b, sent, encoded):
        computed.extend(e.text for e in encoded)
        return real(b, sent, encoded)

    monkeypatch.setattr(scoring, "_answers", counting)
    doubled = QUESTIONS + QUESTIONS
    first = scoring.score(backbone, doubled, PROMPT, cache=cache)
    assert len(computed) == len(QUESTIONS)
    again = scoring.score(backbone, doubled, PROMPT, cache=cache)
    assert len(computed) == len(QUESTIONS)
    for name in ("probs", "mass", "mean", "embedding"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    scoring.score(backbone, QUESTIONS[:1], Prompt(), cache=cache)  # another template, another key
    assert len(computed) == len(QUESTIONS) + 1


def test_low_mass_is_warned_of(backbone):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scored = scoring.score(backbone, QUESTIONS, PROMPT)
    assert (scored.mass < LOW_MASS).all()
    assert "4 of 4 questions" in str(caught[-1].message)


def test_too_long_and_not_finite_are_refused(backbone, tmp_path):
    with pytest.raises(CrowdError, match=r"exceed the model's context of 256"):
        scoring.score(backbone, [Question("fools " * 300, ("1", "2"), (1, 2))], PROMPT)
    model = make("llama2", tmp_path)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(tmp_path)
    with pytest.raises(CrowdError, match=r"not finite.*float32"):
        scoring.score(load(tmp_path), QUESTIONS, PROMPT)


def test_no_questions_no_work(backbone):
    assert scoring.score(backbone, [], PROMPT).probs.shape == (0, 0)


def test_bfloat16_is_close_and_its_logits_do_not_tie(backbone, tmp_path):
    """bf16 carries 8 bits: hidden states are off by about 2**-8 a layer. The logits are float32,
    so options differ even where bf16 would round them together."""
    make("llama2", tmp_path)
    half = scoring.score(load(tmp_path), QUESTIONS, PROMPT)
    full = scoring.score(backbone, QUESTIONS, PROMPT)
    np.testing.assert_allclose(half.probs, full.probs, atol=0.15)
    assert half.embedding.dtype == np.float32
    graph_free = load(tmp_path)
    hidden = jax.ShapeDtypeStruct((1, 32), jax.numpy.bfloat16)
    model = jax.eval_shape(
        lambda w, h: scoring.nnx.merge(graph_free.graph, w).logits(h), graph_free.weights, hidden
    )
    assert model.dtype == np.float32


MESH = """
import sys, warnings
import jax, numpy as np
warnings.simplefilter("ignore")
sys.path[:0] = [{tests!r}]
from test_scoring import PERSONAS, PROMPT, QUESTIONS
from crowdllm_jax.backbone.weights import load
from crowdllm_jax.backbone.scoring import score
from crowdllm_jax.reference.backbone import MeshConfig, mesh_of
jax.config.update("jax_default_matmul_precision", "highest")
assert jax.device_count() == 4
for folder in sys.argv[1:]:
    one = load(folder, dtype="float32")
    four = load(folder, dtype="float32", mesh=mesh_of(MeshConfig(data=2, model=2), one))
    for name, axis in {{"q": 1, "v": 1, "o": 2, "up": 1, "down": 2}}.items():
        w = four.weights["block"][name][...]
        assert w.addressable_shards[0].data.shape[axis] == w.shape[axis] // 2, (name, w.sharding)
    some = QUESTIONS + PERSONAS
    a, b = score(one, some, PROMPT, batch=3), score(four, some, PROMPT, batch=3)
    for name in ("probs", "mean", "embedding"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=1e-4)
print("equal")
"""


def test_one_device_equals_a_mesh_of_four(tmp_path):
    make("llama3", tmp_path / "llama3")
    here = Path(__file__).parent
    four = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
    flags = {"XLA_FLAGS": four, "NPROC": "32"}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            MESH.format(tests=str(here)),
            tmp_path / "llama3",
        ],
        env={**os.environ, **flags},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.stdout.strip().endswith("equal"), done.stderr[-2000:]
