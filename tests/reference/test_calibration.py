"""Calibration: what a model answers without content is divided out, by hand beside it."""

from dataclasses import replace

import numpy as np
import pytest
from asked import TASKS
from fake_server import logprobs
from msgspec import structs
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.backbone import scoring
from crowdllm_jax.backbone import weights as checkpoint
from crowdllm_jax.backbone.answers import Scored
from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.calibration import calibrated, with_blanks
from crowdllm_jax.reference.make import ask_reference
from crowdllm_jax.reference.questions import PromptConfig, prompt_and_questions
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runtime.progress import silent

pytestmark = pytest.mark.filterwarnings("ignore:.*the options hold less than")
LEVELS = ("1", "2", "3", "4", "5")
TEXTS = {"contextual": ("N/A", "[MASK]", ""), "pmi": ("",)}
ASKED = "Answer with exactly one of these options and nothing else:\n"


def plain(model, messages, options):
    """(T, K) what the model answers to messages that are written out here."""
    questions = [Question(text, options, tuple(range(len(options)))) for text in messages]
    backbone = checkpoint.load(model, dtype="float32")
    return scoring.score(backbone, questions, Prompt(user="{task}")).probs.astype(np.float64)


def by_hand(model, messages, texts, options):
    """Zhao's and Holtzman's quotients, made to sum to 1."""
    listed = ASKED + "\n".join(f"- {option}" for option in options)
    said = plain(model, [f"{message}\n\n{listed}" for message in messages], options)
    leaning = plain(model, [f"{text}\n\n{listed}".strip() for text in texts], options).mean(0)
    assert leaning.max() > 1.5 * leaning.min()  # there is something to divide by
    return (said / leaning) / (said / leaning).sum(1, keepdims=True)


@pytest.mark.parametrize("orders", [1, 2])
@pytest.mark.parametrize("kind", TEXTS)
def test_answers_are_divided_by_those_without_content(ask, model, kind, orders):
    path = ask(kind="backbone", model=str(model), dtype="float32", calibration=kind, orders=orders)
    config = load_config(path)
    study = load_study(config)
    reference, _ = ask_reference(study, config.reference, (), silent)
    wanted = by_hand(model, study.tasks.text, TEXTS[kind], LEVELS)
    if orders == 2:  # each order has a leaning of its own
        turned = by_hand(model, study.tasks.text, TEXTS[kind], LEVELS[::-1])[:, ::-1]
        np.testing.assert_allclose(reference.order, np.abs(wanted - turned).sum(1) / 2, atol=1e-6)
        wanted = (wanted + turned) / 2
    np.testing.assert_allclose(reference.probs, wanted, atol=1e-6)
    np.testing.assert_allclose(reference.mean, wanted @ np.arange(1, 6), atol=1e-5)
    raw, _ = ask_reference(study, structs.replace(config.reference, calibration="none"), (), silent)
    np.testing.assert_array_equal(reference.mass, raw.mass)
    np.testing.assert_array_equal(reference.embedding, raw.embedding)
    assert np.abs(reference.probs - raw.probs).max() > 0.01


def test_personas_keep_what_they_answer_to_everything(ask, model):
    """They are divided by what the model says as nobody."""
    path = ask(kind="backbone", model=str(model), dtype="float32", calibration="pmi", orders=2)
    config = load_config(path)
    study = load_study(config)
    questions = prompt_and_questions(study, config.reference.prompt)[1][:2]
    personas = [replace(q, persona="Answer as this person would: old\n\n") for q in questions]
    _, scored = ask_reference(study, config.reference, personas, silent)
    listed = ASKED + "\n".join(f"- {option}" for option in LEVELS)
    messages = [f"{q.text}\n\n{q.persona}{listed}" for q in personas]
    quotient = plain(model, messages, LEVELS) / plain(model, [listed], LEVELS)
    wanted = quotient / quotient.sum(1, keepdims=True)
    np.testing.assert_allclose(scored.probs, wanted, atol=1e-6)
    np.testing.assert_allclose(scored.mean, wanted @ np.arange(1, 6), atol=1e-5)


def test_the_cache_keeps_what_was_answered(ask, model, scored):
    """Calibrated or not, a prompt is computed once, and none takes another's numbers."""
    config = load_config(ask(kind="backbone", model=str(model), dtype="float32"))
    study = load_study(config)
    answers = {}
    for kind, asked in (("none", 0), ("contextual", 3), ("pmi", 3), ("none again", 3)):
        calibration = kind.split()[0]
        changed = structs.replace(config.reference, calibration=calibration)
        answers[kind], _ = ask_reference(study, changed, (), silent)
        assert len(scored) == TASKS + asked
    np.testing.assert_array_equal(answers["none again"].probs, answers["none"].probs)
    assert np.abs(answers["pmi"].probs - answers["contextual"].probs).max() > 1e-4


def test_a_leaning_on_every_scale_is_divided_out():
    """Answers that are a signal times a leaning (of each kind of question its own): the signal
    is left."""
    study = make_study(EVERY_SCALE, tasks=2)
    questions = with_blanks(
        prompt_and_questions(study, PromptConfig(ballot="Would you?\n{project}\nSay."), 2)[1], "pmi"
    )
    random = np.random.default_rng(0)
    # Scales of the same options share a leaning, but for ballots, whose question is another.
    leaning, signals, rows = {}, [], []
    for q in questions:
        frame = q.frame if q.blank else (("Would you?\n", "\nSay.") * (q.options[0] in "NoYes"))
        kind = q.options, frame[:2] if frame else ("", "")
        own = leaning.setdefault(kind, random.dirichlet(np.ones(len(q.options))))
        signal = np.ones(len(own)) if q.blank else random.dirichlet(np.ones(len(own)))
        rows.append(np.pad(signal * own / (signal @ own), (0, 11 - len(own))))
        if not q.blank:
            signals.append(signal)
    blank = [q.text for q in questions if q.blank]
    assert sorted(set(blank)) == ["", "Would you?\n\nSay."]
    assert len(blank) == len(leaning)
    scored = Scored(np.array(rows, np.float32), np.full(len(rows), 0.5), np.zeros(len(rows)), None)
    found = calibrated(questions, scored)
    assert len(found.probs) == len(signals) == 2 * len(study.tasks.ids)
    for signal, row in zip(signals, found.probs, strict=True):
        np.testing.assert_allclose(row[: len(signal)], signal, rtol=1e-4, atol=1e-6)


def endpoint(server, **more):
    return {"kind": "endpoint", "model": "m", "base_url": server.url, "retries": 0, **more}


def test_an_endpoints_probabilities_are_divided(ask, serve):
    def behave(body, n):
        said = "Task" in body["messages"][-1]["content"]
        return logprobs({"1": 0.5, "4": 0.3, "2": 0.1} if said else {"1": 0.5, "2": 0.22, "4": 0.2})

    server = serve(behave)
    path = ask(**endpoint(server, method="logprobs", calibration="pmi"))
    config = load_config(path)
    reference, _ = ask_reference(load_study(config), config.reference, (), silent)
    assert len(server.bodies) == TASKS + 1
    # Two options are not listed: they get half of what is left, .1 and .08, between them.
    said = np.array([0.5, 0.1, 0.025, 0.3, 0.025])
    leaning = np.array([0.5, 0.22, 0.02, 0.2, 0.02])
    wanted = said / leaning / (said / leaning).sum()
    np.testing.assert_allclose(reference.probs, [wanted] * TASKS, rtol=1e-5)


@pytest.mark.parametrize("method", ["auto", "sample"])
def test_counted_samples_are_not_divided(ask, serve, method, capsys):
    server = serve(lambda body, n: logprobs({"1": 1.0}))
    path = ask(**endpoint(server, method=method, calibration="contextual"))
    assert main(["reference", str(path)]) == 2
    assert "set reference.method to logprobs" in capsys.readouterr().err
    assert server.bodies == []


def test_nothing_is_divided_by_zero(ask, serve, capsys):
    path = ask(
        **endpoint(
            serve(lambda body, n: logprobs({"1": 0.75, "2": 0.25})),
            method="logprobs",
            calibration="pmi",
        )
    )
    assert main(["reference", str(path)]) == 2
    assert "the option '3' has a probability of 0" in capsys.readouterr().err


def test_what_is_asked_without_content_is_shown_and_counted(ask, model, capsys):
    path = ask(kind="backbone", model=str(model), orders=2, calibration="contextual")
    assert main(["reference", str(path), "--show", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("--- without content, to calibrate") == 2
    assert "N/A\n\nAnswer with exactly" in shown
    assert main(["reference", str(path), "--dry-run"]) == 0
    assert f"{2 * (TASKS + 3)} different" in capsys.readouterr().out


def test_blank_questions_only_may_lack_a_text():
    with pytest.raises(CrowdError, match="empty text"):
        Question(" ", ("a", "b"), (0, 1))
    assert Question("", ("a", "b"), (0, 1), blank=True).text == ""
