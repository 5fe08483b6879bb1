"""Language models as references of a study: from the configuration to the report."""

import json
import shutil
import subprocess
import sys
from collections import Counter

import families
import gguf_files
import jax
import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_server import limited, logprobs, text
from few_drawings import few_drawings  # noqa: F401
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.backbone import scoring
from crowdllm_jax.backbone import weights as checkpoint
from crowdllm_jax.backbone.answers import Scored
from crowdllm_jax.backbone.questions import Question
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd_file import load_crowd
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.reference.backbone import ask_share
from crowdllm_jax.reference.column import ColumnReference, from_column
from crowdllm_jax.reference.endpoint import EndpointReference
from crowdllm_jax.reference.make import ask_reference
from crowdllm_jax.reference.marginal import MarginalReference
from crowdllm_jax.reference.questions import (
    PromptConfig,
    prompt_and_questions,
    reference_of,
    write_reference,
)
from crowdllm_jax.runs import prepare
from crowdllm_jax.runs.config import dump_config, load_config, load_study
from crowdllm_jax.runtime import processes as cluster
from crowdllm_jax.runtime import progress
from crowdllm_jax.study import scales
from crowdllm_jax.study.statistics import unit

pytestmark = pytest.mark.filterwarnings("ignore:.*the options hold less than")
TASKS = 12  # of the study that the fixture `ask` writes
WIDTH = families.COMMON["hidden_size"]


def test_a_run_asks_the_model_once(ask, model, scored, tmp_path, monkeypatch, capsys):
    path = ask(kind="backbone", model=str(model))
    assert main(["run", str(path), "--out", "one"]) == 0
    out, err = capsys.readouterr()
    assert "Reference, sampled" in out
    assert f"warning: {model.name}: 12 of 12 questions: the options hold less" in err
    assert err.count("the options hold less") == 1
    assert 0 < err.find(f"load {model.name} in float32\n") < err.find(f"ask {model.name}\n")
    assert len(scored) == len(set(scored)) == TASKS
    assert "Task number 3?" in scored[3]
    crowd = load_crowd(tmp_path / "here/one/seed-0/cvae/crowd")
    # The model's embedding, and who the tasks are.
    assert crowd.inputs.x.shape == (TASKS, WIDTH + TASKS)
    config = load_config(path)
    study = load_study(config)
    reference = prepare.prepare(study, config, 0).reference
    np.testing.assert_allclose(
        crowd.inputs.reference, unit(study, reference.mean, np.arange(TASKS)), rtol=1e-6
    )
    assert reference.kind == "backbone"

    def never(*_, **__):
        raise AssertionError("weights were loaded for nothing")

    monkeypatch.setattr(checkpoint, "load", never)
    again = prepare.prepare(study, config, 1).reference
    np.testing.assert_array_equal(again.probs, reference.probs)
    assert len(scored) == TASKS


def test_the_reference_is_what_the_model_says(ask, model):
    path = ask(kind="backbone", model=str(model), dtype="float32")
    config = load_config(path)
    study = load_study(config)
    reference, _ = ask_reference(study, config.reference, (), progress.silent)
    prompt, questions = prompt_and_questions(study, config.reference.prompt)
    direct = scoring.score(checkpoint.load(model, dtype="float32"), questions, prompt)
    np.testing.assert_allclose(reference.probs, direct.probs, atol=1e-6)
    np.testing.assert_allclose(reference.mean, direct.mean, atol=1e-5)
    np.testing.assert_allclose(reference.embedding, direct.embedding, atol=1e-5)
    assert reference.probs.std(0).min() > 1e-3  # tasks differ


def test_quantised_weights_give_the_same_reference(ask, tmp_path, capsys):
    path = gguf_files.quantised(tmp_path / "hf", tmp_path / "q.gguf", ["Q4_K"] * 2, vocab_size=300)
    config = load_config(ask(kind="backbone", model=str(path), dtype="float32"))
    study = load_study(config)
    found = []
    for weights in ("dense", "quantised"):
        own = msgspec.structs.replace(config.reference, weights=weights, cache=f"{weights}.sqlite")
        found.append(ask_reference(study, own, (), progress.silent)[0])
    np.testing.assert_allclose(found[1].probs, found[0].probs, atol=1e-5)
    np.testing.assert_allclose(found[1].embedding, found[0].embedding, atol=1e-4)
    assert found[0].probs.std(0).max() > 1e-3  # tasks differ
    size = {}
    for weights in ("dense", "quantised"):
        change = ["--set", f"reference.weights={weights}"]
        assert main(["reference", str(tmp_path / "input/config.yaml"), "--dry-run", *change]) == 0
        (line,) = (k for k in capsys.readouterr().out.splitlines() if k.startswith("weights"))
        size[weights] = float(line.split(f"weights   {weights}, ")[1].split(" MB on the device")[0])
    assert 4 < size["dense"] / size["quantised"] < 8


def test_processes_share_the_questions(ask, model, scored, monkeypatch):
    """Each of three scores a part, together everything once, and then nothing is left to ask."""
    config = load_config(ask(kind="backbone", model=str(model)))
    study = load_study(config)
    monkeypatch.setattr(cluster, "size", lambda: 3)
    parts = []
    for rank in range(3):
        before = len(scored)
        monkeypatch.setattr(cluster, "rank", lambda own=rank: own)
        ask_share(study, config.reference, (), progress.silent)
        parts.append(len(scored) - before)
    assert max(parts) < len(scored) == len(set(scored)) == TASKS
    ask_reference(study, config.reference, (), progress.silent)
    assert len(scored) == TASKS


def test_an_interrupted_run_resumes(ask, model, scored, tmp_path, monkeypatch, capsys):
    path = ask(kind="backbone", model=str(model), batch=4)
    counting = scoring._answers

    def stopping(*arguments):
        if len(scored) == 8:
            raise KeyboardInterrupt
        return counting(*arguments)

    monkeypatch.setattr(scoring, "_answers", stopping)
    assert main(["fit", str(path), "--out", "out"]) == 130
    assert "the same command continues" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "here").iterdir()} == {"reference-cache.sqlite"}
    monkeypatch.setattr(scoring, "_answers", counting)
    assert main(["reference", str(path), "--dry-run"]) == 0
    assert "8 answered in reference-cache.sqlite, 4 to score" in capsys.readouterr().out
    assert main(["fit", str(path), "--out", "out"]) == 0
    assert set(Counter(scored).values()) == {1}
    assert len(scored) == TASKS


def test_the_table_is_read_back(ask, model, tmp_path, monkeypatch, capsys):
    """And trains the same crowd elsewhere, without model or cache."""
    path = ask(kind="backbone", model=str(model))
    assert main(["fit", str(path), "--out", "one", "--quiet"]) == 0
    assert main(["reference", str(path)]) == 0
    said = capsys.readouterr().out
    assert "config-reference.parquet" in said
    assert "option mass" in said
    asked = prepare.prepare(load_study(path), load_config(path), 0)
    (tmp_path / "here/config-reference.parquet").rename(tmp_path / "input/ref.parquet")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    keys = {"probs": "probs", "mass": "mass", "embedding": "embedding"}
    again = ask(kind="column", path="ref.parquet", **keys)
    read = prepare.prepare(load_study(again), load_config(again), 0)
    np.testing.assert_array_equal(read.x, asked.x)
    for name in ("mean", "probs", "mass", "embedding"):
        one, other = getattr(read.reference, name), getattr(asked.reference, name)
        np.testing.assert_array_equal(one, other)
    assert main(["fit", str(again), "--out", "two", "--quiet"]) == 0
    folders = tmp_path / "here/one", elsewhere / "two"
    before, after = (load_crowd(folder / "seed-0/cvae/crowd") for folder in folders)
    jax.tree.map(np.testing.assert_array_equal, before.params, after.params)
    about = json.loads(pq.read_schema(tmp_path / "input/ref.parquet").metadata[b"crowdllm"])
    assert about["reference"]["model"] == str(model)


def test_the_persistent_model_reads_the_embedding(ask, model):
    path = ask(kind="backbone", model=str(model))
    study, config = load_study(path), load_config(path)
    config = msgspec.structs.replace(config, model=PersistentConfig(steps=2, nodes=16))
    crowd, _ = prepare.fit(study, config)
    without = msgspec.structs.replace(config, reference=MarginalReference())
    bare, _ = prepare.fit(study, without)
    more, fewer = (one.inputs.tasks.loading.shape[1] for one in (crowd, bare))
    assert more > fewer == 1


def test_another_prompt_is_asked_anew(ask, model, scored):
    path = ask(kind="backbone", model=str(model))
    assert main(["reference", str(path), "--quiet"]) == 0
    edit = "reference.prompt.user='{task} Choose: {options}'"
    assert main(["reference", str(path), "--quiet", "--set", edit]) == 0
    assert len(scored) == len(set(scored)) == 2 * TASKS
    assert scored[-1].count("Choose: - 1") == 1


def test_prompts_are_shown_and_counted_without_weights(ask, model, tmp_path, capsys):
    bare = tmp_path / "bare"
    shutil.copytree(model, bare)
    (bare / "model.safetensors").unlink()
    path = ask(kind="backbone", model=str(bare), prompt={"system": "Be brief."})
    assert main(["reference", str(path), "--show", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("--- task t") == 2
    for piece in ("<|system|>\nBe brief.<|end|>", "Task number 1?", "--- options: 1 | 2 | 3 | 4"):
        assert piece in shown, piece
    assert main(["reference", str(path), "--dry-run"]) == 0
    assert "12 different; 0 answered in reference-cache.sqlite, 12 to score" in (
        capsys.readouterr().out
    )
    assert list((tmp_path / "here").iterdir()) == []


def test_questions_of_every_scale():
    study = make_study(EVERY_SCALE, tasks=1)
    asked = dict(zip(EVERY_SCALE, prompt_and_questions(study, PromptConfig())[1], strict=True))
    assert asked["rating"].options == ("1", "2", "3", "4", "5")
    assert asked["frequency"].options == ("never", "sometimes", "always")
    assert asked["frequency"].values == (1, 2, 3)
    assert asked["price"].options == (
        "-10",
        "-6",
        "-2",
        "2",
        "6",
        "10",
        "14",
        "18",
        "22",
        "26",
        "30",
    )
    for name, high in {"approve": 1, "pick": 1, "rank": 3, "share": 10}.items():
        assert asked[name].options == ("No", "Yes")
        assert asked[name].values == (0, high)
        assert asked[name].text.startswith("Would you vote for this project?\n\nTask number")
    narrow = make_study({"s": scales.Continuous(low=1e6, high=1e6 + 1)}, tasks=1)
    assert len(set(prompt_and_questions(narrow, PromptConfig())[1][0].options)) == 11


def answers(study, seed=0):
    """Made-up answers to `prompt_and_questions`: what `score` or `ask` would return."""
    random = np.random.default_rng(seed)
    questions = prompt_and_questions(study, PromptConfig())[1]
    probs = np.zeros((len(questions), max(len(q.options) for q in questions)), np.float32)
    for t, question in enumerate(questions):
        probs[t, : len(question.options)] = random.dirichlet(np.ones(len(question.options)))
    values = [np.dot(p[: len(q.values)], q.values) for p, q in zip(probs, questions, strict=True)]
    embedding = random.normal(size=(len(probs), 3)).astype(np.float32)
    mass = random.uniform(size=len(probs)).astype(np.float32)
    return Scored(probs, mass, np.array(values, np.float32), embedding)


@pytest.mark.parametrize("continuous", [False, True])
def test_answers_on_every_scale_survive_the_table(tmp_path, continuous):
    """With a continuous scale in the study only the means are known."""
    by_name = {n: s for n, s in EVERY_SCALE.items() if continuous or n != "price"}
    study = make_study(by_name, tasks=3)
    said = answers(study)
    reference = reference_of(study, "backbone", said)
    np.testing.assert_allclose(reference.mean, said.mean, rtol=1e-6)
    assert (reference.probs is None) == continuous
    for index, (name, scale) in enumerate(by_name.items()):
        here = study.tasks.scale == index
        if name in ("rank", "share"):
            assert (reference.mean[here] <= scales.values(scale)[-1]).all()
            if not continuous:
                k = scales.size(scale)
                np.testing.assert_array_equal(reference.probs[here, 0], said.probs[here, 0])
                np.testing.assert_array_equal(reference.probs[here, k - 1], said.probs[here, 1])
    write_reference(study, reference, EndpointReference(model="m"), tmp_path / "ref.parquet")
    answered = {"value": "mean"} if continuous else {"probs": "probs"}
    config = ColumnReference(path="ref.parquet", mass="mass", embedding="embedding", **answered)
    read = from_column(study, config, str(tmp_path))
    for name in ("mean", "probs", "mass", "embedding"):
        np.testing.assert_array_equal(getattr(read, name), getattr(reference, name))


def test_lists_beyond_the_levels_are_refused(tmp_path):
    study = make_study({"a": EVERY_SCALE["rating"], "b": EVERY_SCALE["agree"]}, tasks=1)
    reference = reference_of(study, "backbone", answers(study))
    reference.probs[1] = [0.5, 0.4, 0.1, 0, 0]
    write_reference(study, reference, EndpointReference(model="m"), tmp_path / "ref.parquet")
    with pytest.raises(CrowdError, match=r"task 't01'.*beyond the scale's levels"):
        from_column(study, ColumnReference(path="ref.parquet", probs="probs"), str(tmp_path))


def test_a_study_with_an_embedding_keeps_it(ask, model, tmp_path):
    """And a reference without one changes no features."""
    study = make_study(embedding=2)
    reference = {"probs": "probs", "embedding": "embedding", "path": "ref.parquet"}
    said = reference_of(study, "backbone", answers(study))
    write_reference(study, said, EndpointReference(model="m"), tmp_path / "input/ref.parquet")
    config = load_config(ask(kind="column", **reference))
    own = prepare.prepare(study, config, 0).x
    assert own.shape == (4, 2 + 4)
    bare = load_config(ask(kind="marginal"))
    np.testing.assert_array_equal(own, prepare.prepare(study, bare, 0).x)


def test_both_orders_are_asked_and_averaged(ask, model, tmp_path):
    path = ask(kind="backbone", model=str(model), dtype="float32", orders=2)
    config = load_config(path)
    study = load_study(config)
    reference, _ = ask_reference(study, config.reference, (), progress.silent)
    prompt, questions = prompt_and_questions(study, config.reference.prompt)
    turned = [
        Question(q.text, q.options[::-1], q.values[::-1], codes=q.codes[::-1]) for q in questions
    ]
    loaded = checkpoint.load(model, dtype="float32")
    one, two = (scoring.score(loaded, every, prompt) for every in (questions, turned))
    np.testing.assert_allclose(reference.probs, (one.probs + two.probs[:, ::-1]) / 2, atol=1e-6)
    np.testing.assert_allclose(reference.mean, (one.mean + two.mean) / 2, atol=1e-5)
    apart = np.abs(one.probs - two.probs[:, ::-1]).sum(1) / 2
    np.testing.assert_allclose(reference.order, apart, atol=1e-6)
    assert apart.min() > 1e-3  # the order of the options does move this model
    np.testing.assert_allclose(reference.embedding, one.embedding, atol=1e-5)
    write_reference(study, reference, config.reference, tmp_path / "ref.parquet")
    kept = ColumnReference(path="ref.parquet", probs="probs", order="order")
    np.testing.assert_array_equal(from_column(study, kept, str(tmp_path)).order, reference.order)


def test_both_orders_on_every_scale():
    """Answers that do not mind the order are left as they are, whatever the scale."""
    study = make_study(EVERY_SCALE, tasks=3)
    said = answers(study)
    turned = np.zeros_like(said.probs)
    for t, question in enumerate(prompt_and_questions(study, PromptConfig())[1]):
        k = len(question.options)
        turned[t, :k] = said.probs[t, :k][::-1]
    both = Scored(
        np.concatenate([said.probs, turned]),
        np.tile(said.mass, 2),
        np.tile(said.mean, 2),
        np.tile(said.embedding, (2, 1)),
    )
    reference, plain = (reference_of(study, "backbone", one) for one in (both, said))
    np.testing.assert_allclose(reference.mean, plain.mean, rtol=1e-6)
    np.testing.assert_allclose(reference.order, 0, atol=1e-7)
    np.testing.assert_array_equal(reference.embedding, plain.embedding)


def test_a_run_goes_on_with_the_model_it_was_begun_with(ask, model, tmp_path, capsys):
    """The cache tells an exchanged model from the former, which would be asked anew for what is
    left of a run. Questions of the run, and agents, need no model."""
    own = shutil.copytree(model, tmp_path / "own")
    small = "model={kind: persistent, steps: 5}"
    path = ask(kind="backbone", model=str(own))
    command = ["fit", str(path), "--out", "one", "--set", small, "--set", "models=[]"]
    assert main(command) == 0
    families.make("llama2", own, vocab_size=400, seed=7)
    capsys.readouterr()
    for again in (command, ["evaluate", "one"], ["ask", "one", "New?"]):
        assert main(again) == 2
        told = capsys.readouterr().err
        assert f"one: was begun with other answers of {own} (its files or its commit have" in told
    assert main(["ask", "one", "Task number 3?"]) == 0
    assert main(["sample", "one", "--agents", "10", "--out", "ten"]) == 0
    shutil.rmtree(own)
    shutil.copytree(model, own)
    assert main(["evaluate", "one"]) == 0


# --- endpoint ----------------------------------------------------------------------------------


def server_of(serve):
    """Answers by log-probabilities; the task's number decides."""
    return serve(lambda body, n: logprobs({"1": 0.5, "4": 0.3, "So": 0.2}))


def endpoint(server, **more):
    return {"kind": "endpoint", "model": "org/fake", "base_url": server.url, "retries": 0, **more}


def test_an_endpoint_is_asked_once(ask, serve, tmp_path, capsys):
    server = server_of(serve)
    path = ask(**endpoint(server, price_in=3.0, price_out=15.0))
    assert main(["reference", str(path), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "12 different; 0 answered" in said
    assert "USD" in said
    assert main(["reference", str(path), "--show", "1"]) == 0
    assert "[user]\nTask number 0?" in capsys.readouterr().out
    assert server.bodies == []
    assert list((tmp_path / "here").iterdir()) == []
    config = load_config(path)
    reference = prepare.prepare(load_study(path), config, 0).reference
    assert len(server.bodies) == TASKS
    np.testing.assert_allclose(reference.probs, [[0.625, 0, 0, 0.375, 0]] * TASKS, rtol=1e-6)
    np.testing.assert_allclose(reference.mass, 0.8, rtol=1e-6)
    assert reference.embedding is None
    # 12 answers of 100 and 2 tokens each, as the server reports.
    how = "log-probabilities of the 20 likeliest first tokens"
    assert str(reference.spent) == f"12 calls, 1,200 tokens in, 24 out, 0.0040 USD; {how}"
    capsys.readouterr()
    assert main(["reference", str(path), "--quiet"]) == 0
    assert (
        "asked       0 calls, 0 tokens in, 0 out, 0.0000 USD; earlier answers, by logprobs\n"
        in (capsys.readouterr().out)
    )
    assert len(server.bodies) == TASKS
    assert "secret-key" not in dump_config(config)


def test_a_run_says_what_its_reference_took(ask, serve, tmp_path, capsys):
    """And how it was asked; also when it is started again, which asks nothing."""
    probs = {"1": 0.5, "4": 0.3, "So": 0.2}
    path = ask(**endpoint(serve(limited(5, "top_logprobs must be between 0 and 5", probs))))
    how = "log-probabilities of the 5 likeliest first tokens, all that the server gives"
    for _ in range(2):
        assert main(["run", str(path), "--out", "one", "--quiet"]) == 0
        said = capsys.readouterr().out
        assert f"asked       13 calls, 1,200 tokens in, 24 out; {how}\n" in said
    assert how in (tmp_path / "here/one/run.json").read_text()
    assert "13 calls" in (tmp_path / "here/one/report.html").read_text()


def test_a_run_goes_on_with_the_answers_of_a_server(ask, serve, tmp_path, capsys):
    """Nobody knows when its model changes; but its answers are kept, unless they get lost."""
    said = [{"1": 0.5, "4": 0.3}]
    path = ask(**endpoint(serve(lambda body, n: logprobs(said[-1]))))
    small = "model={kind: persistent, steps: 5}"
    command = ["fit", str(path), "--out", "one", "--set", small, "--set", "models=[]"]
    assert main(command) == 0
    said.append({"1": 0.2, "4": 0.6})
    assert main(command) == 0  # the cache has them
    cache = tmp_path / "here/reference-cache.sqlite"
    cache.rename(tmp_path / "aside")
    capsys.readouterr()
    assert main(command) == 2
    assert "other answers of org/fake (the answers in reference-cache" in capsys.readouterr().err
    (tmp_path / "aside").rename(cache)
    assert main(["evaluate", "one"]) == 0


def test_tasks_without_an_answer_are_an_error(ask, serve, capsys):
    odd = lambda body, n: "Task number 5" in str(body) or "Task number 7" in str(body)  # noqa: E731
    path = ask(
        **endpoint(
            serve(lambda body, n: text("I would rather not" if odd(body, n) else "2")),
            method="sample",
            samples=1,
        )
    )
    assert main(["run", str(path), "--out", "one"]) == 2
    err = capsys.readouterr().err
    assert "no usable answer to 2 of 12 task(s), the first 't05' (unparsed: I would rather" in err
    assert "crowdllm reference --show" in err


def test_calls_used_up_are_told_and_the_rest_is_asked_later(ask, serve, capsys):
    server = server_of(serve)
    path = ask(**endpoint(server, max_calls=8, method="logprobs"))
    assert main(["reference", str(path)]) == 2
    err = capsys.readouterr().err
    assert "no usable answer to 4 of 12 task(s)" in err
    assert "max_calls (8) is used up" in err
    assert "give a larger reference.max_calls; the other answers are in" in err
    assert "(this took 8 calls, 800 tokens in, 16 out; log-prob" in err
    assert "the same command asks only the rest" in err
    assert main(["reference", str(path)]) == 0
    assert len(server.bodies) == TASKS


# --- what goes wrong ---------------------------------------------------------------------------


def files(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def edited(**changes):
    def edit(model, tmp_path):
        copy = tmp_path / "edited"
        shutil.copytree(model, copy)
        config = json.loads((copy / "config.json").read_text()) | changes
        (copy / "config.json").write_text(json.dumps(config))
        return {"model": str(copy)}

    return edit


def no_cache(model, tmp_path):
    (tmp_path / "mine.txt").write_text("not a database, but a text of mine\n" * 50)
    return {"model": str(model), "cache": str(tmp_path / "mine.txt")}


def with_labels(labels):
    levels = "levels: [1, 2, 3, 4, 5]"
    return (levels, f"{levels}, labels: {json.dumps(labels)}")


BAD = {
    "no such folder": ({"model": "./nowhere"}, None, "./nowhere: no such folder"),
    "unknown family": (edited(model_type="mamba"), None, "model_type"),
    "unknown dtype": ({"dtype": "int4"}, None, "reference.dtype"),
    "unknown key": ({"temprature": 1}, None, "temprature"),
    "unknown placeholder": (
        {"prompt": {"user": "{tsk}"}},
        None,
        "prompt.user: unknown placeholder {tsk}",
    ),
    "no task in the prompt": ({"prompt": {"user": "Rate!"}}, None, "{task} must stand in it"),
    "no project": ({"prompt": {"ballot": "?"}}, None, "prompt.ballot: {project} must"),
    "options alike": ({}, with_labels(["a", "b", "b", "d", "e"]), "change the label"),
    "no texts": ({}, ("  tasks: {text: text}\n", ""), "name their column in study.tasks.text"),
    "too long": ({"prompt": {"user": "words " * 300 + "{task}"}}, None, "context of 256"),
    "nothing quantised": ({"weights": "quantised"}, None, "kept of a GGUF file"),
    "no cache": (no_cache, None, "not usable as a reference cache"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("command", ["run", "reference"])
def test_bad_configurations(case, command, ask, model, tmp_path, capsys):
    changes, replaced, says = BAD[case]
    if callable(changes):
        changes = changes(model, tmp_path)
    path = ask(**{"kind": "backbone", "model": str(model), **changes})
    if replaced:
        assert replaced[0] in path.read_text()
        path.write_text(path.read_text().replace(*replaced))
    before = files(tmp_path)
    assert main([command, str(path), "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.strip()]) == 1
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out", "table.csv"], "ends in .parquet"),
        (["--show", "0"], "1 or more"),
        (["--set", "reference={kind: marginal}"], "reference.kind is marginal"),
        (["--set", "reference={kind: endpoint, model: m, samples: 0}"], "reference.samples"),
        (["--set", "reference={kind: endpoint, model: m, budget: 1}"], "price_in"),
    ],
)
def test_bad_arguments(arguments, says, ask, model, tmp_path, capsys):
    path = ask(kind="backbone", model=str(model))
    assert main(["reference", str(path), *arguments]) == 2
    assert says in capsys.readouterr().err
    assert list((tmp_path / "here").iterdir()) == []


def test_a_file_of_somebody_else_is_not_replaced(ask, model, tmp_path, capsys):
    """Neither with a reference nor with embeddings; one's own is."""
    path, mine = ask(kind="backbone", model=str(model)), tmp_path / "mine.parquet"
    commands = (["reference", str(path)], ["embed", str(path), "--model", str(model)])
    for command in commands:
        mine.write_bytes(b"task,mean\nq1,3\n")
        assert main([*command, "--out", str(mine)]) == 2
        assert "is there already" in capsys.readouterr().err
        assert mine.read_bytes() == b"task,mean\nq1,3\n"
        mine.unlink()
        assert main([*command, "--out", str(mine)]) == 0
        assert main([*command, "--out", str(mine)]) == 0
        table = pq.read_table(mine)
        pq.write_table(table.replace_schema_metadata(None), mine)
        assert main([*command, "--out", str(mine)]) == 2
    # Nor is a reference by embeddings.
    pq.write_table(table, mine)
    assert main([*commands[0], "--out", str(mine)]) == 2


def test_models_and_clients_are_loaded_when_asked_for(ask, model):
    """Reading a configuration, of whatever kind, loads none of the heavy packages."""
    path = ask(kind="backbone", model=str(model))
    code = (
        "import sys; import crowdllm_jax.workflow.steps; "
        "from crowdllm_jax.runs.config import load_config; "
        f"load_config({str(path)!r}); "
        "print([m for m in ('transformers', 'openai', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
