"""Servers with limits of their own and models that do not answer: what is found out, what it costs
to the call, and what is told."""

import re
import time
from itertools import count

import numpy as np
import pytest
from fake_server import limited, logprobs, refuses, says, send, text

from crowdllm_jax.backbone.cache import Cache
from crowdllm_jax.backbone.calls import ask, estimates
from crowdllm_jax.backbone.endpoint import Endpoint
from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError, CrowdWarning

PROMPT = Prompt(user="{task}\n{options}")
quiet = pytest.mark.filterwarnings(
    "ignore:.*(each prompt is asked|the options hold less than|options beyond the listed)"
)
N = 30


def tasks(n=N, options=("1", "2", "3", "4", "5"), **more):
    values = tuple(range(1, len(options) + 1))
    return [Question(f"task {i}", options, values, **more) for i in range(n)]


def endpoint(server, **changes):
    plain = {"samples": 20, "timeout": 30, "retries": 0, "concurrency": 4}
    return Endpoint("fake", server.url, **{**plain, **changes})


# --- log-probabilities -------------------------------------------------------------------------

PEAKED = {"4": 0.6, "5": 0.2, "3": 0.1, "2": 0.06, "1": 0.04}


@pytest.mark.parametrize(
    ("message", "most", "asked_for"),
    [
        ("top_logprobs must be between 0 and 5", 5, [20, 5]),
        ("Requested logprobs of 20, greater than max allowed: 8", 8, [20, 8]),
        ("top_logprobs: too large", 5, [20, 10, 5]),
        ("Bad request", 10, [20, 10]),
    ],
)
def test_a_server_with_fewer_log_probabilities(serve, message, most, asked_for):
    """It is asked for what it takes, found out once, whatever follows in parallel."""
    server = serve(limited(most, message, PEAKED))
    asked = ask(endpoint(server, method="auto"), tasks(), PROMPT)
    tops = [body["top_logprobs"] for body in server.bodies]
    assert tops == asked_for + [most] * (N - 1)
    assert asked.calls == len(asked_for) + N - 1
    assert asked.how == (
        f"log-probabilities of the {most} likeliest first tokens, all that the server gives"
    )
    np.testing.assert_allclose(asked.scored.probs, [[0.04, 0.06, 0.1, 0.6, 0.2]] * N, rtol=1e-6)
    assert asked.problems == ()


def test_options_beyond_a_short_list_lie_within_their_bounds(serve):
    """With 2 of 5 listed, each of the others has at most what the last listed has (and together at
    most what is left); nothing is told where that is little, and it is told where it is much."""
    some = {"4": 0.9, "5": 0.07, "3": 0.015, "2": 0.01, "1": 0.005}
    server = serve(limited(2, "top_logprobs: at most 2", some))
    asked = ask(endpoint(server, method="auto"), tasks(2), PROMPT)
    left = 1 - 0.97
    np.testing.assert_allclose(
        asked.scored.probs[0], np.array([left / 6] * 3 + [0.9, 0.07]) / (0.97 + left / 2), rtol=1e-5
    )
    np.testing.assert_allclose(asked.scored.mass, 0.97, rtol=1e-6)
    assert asked.problems == ()
    server = serve(limited(2, "top_logprobs: at most 2", PEAKED))
    with pytest.warns(CrowdWarning, match="2 question.s.: options beyond the listed .* 20% of the"):
        asked = ask(endpoint(server, method="auto"), tasks(2), PROMPT)
    truth, found = np.array([0.04, 0.06, 0.1, 0.6, 0.2]), asked.scored.probs[0]
    hidden = found[:3]
    assert (hidden >= 0).all()
    assert (hidden <= 0.2).all()
    assert abs(found - truth).sum() / 2 <= 0.2 / 2 + 1e-6  # the middle is off by half at most
    assert {p.kind for p in asked.problems} == {"vague"}


@quiet
@pytest.mark.parametrize(
    ("options", "probs", "why"),
    [
        # Half of them are beyond the list: what is listed would look like all there is.
        (tuple("12345678"), dict.fromkeys("12345678", 0.125), "the options hold only 25% of the"),
        (("1", "2", "3"), {"1": 0.4, "2": 0.35, "3": 0.25}, None),
        (("1", "2", "3"), {"1": 0.35, "2": 0.33, "3": 0.32}, "the 2 tokens .* leave 32% of the"),
    ],
)
def test_a_list_too_short_is_not_used(serve, options, probs, why):
    server = serve(limited(2, "top_logprobs: at most 2", probs))
    asked = ask(endpoint(server, method="auto", samples=3), tasks(4, options), PROMPT)
    if why is None:
        assert asked.calls == 1 + 4
        assert asked.how.startswith("log-probabilities of the 2")
    else:
        assert asked.calls == 2 + 4 * 3
        assert re.search(f"3 sampled answers to each prompt, because {why}", asked.how)


def test_sampling_instead_is_told_before_it_is_paid(serve):
    server = serve(limited(0, "logprobs are not supported by this model", {}))
    seen = []

    def progress(done, total):
        seen.append(len(server.bodies))

    priced = {"price_in": 1.0, "price_out": 4.0}
    with pytest.warns(CrowdWarning) as told:
        asked = ask(endpoint(server, **priced), tasks(), PROMPT, progress=progress)
    [warning] = told
    assert re.search(
        r"refuses log-probabilities \(HTTP 400: logprobs are not supported by this model\), so "
        r"each prompt is asked 20 times instead of once: up to 600 calls and 0\.\d+ USD",
        str(warning.message),
    )
    assert asked.calls == 1 + N * 20  # nothing of the look ahead is paid twice
    assert asked.how.startswith("20 sampled answers to each prompt, because the server refuses")


def test_sampling_instead_must_be_within_the_budget(serve):
    """One that only log-probabilities keep lets the run begin, and ends it before it samples."""
    server = serve(limited(0, "logprobs are not supported by this model", {}))
    some = endpoint(server, method="auto", price_in=1.0, price_out=4.0)
    plans = estimates(some, tasks(), PROMPT)
    assert (plans["logprobs"].calls, plans["sample"].calls) == (N, 1 + N * 20)
    between = endpoint(server, price_in=1.0, price_out=4.0, budget=2 * plans["logprobs"].cost)
    with pytest.raises(CrowdError, match=r"not supported.*sampling instead: 600 calls may cost"):
        ask(between, tasks(), PROMPT)
    assert len(server.bodies) == 1
    below = endpoint(server, price_in=1.0, price_out=4.0, budget=plans["logprobs"].cost / 2)
    with pytest.raises(CrowdError, match=r"^30 calls may cost"):
        ask(below, tasks(), PROMPT)
    assert len(server.bodies) == 1


def test_sampling_is_told_too_if_the_first_sample_fails(serve):
    def behave(body, n):
        return refuses("oh", 500) if n == 2 else text("1")

    with pytest.warns(CrowdWarning, match="no log-probabilities, so each prompt is asked 2 times"):
        asked = ask(endpoint(serve(behave), samples=2), tasks(3), PROMPT)
    assert asked.calls == 1 + 1 + 2 * 2


def test_log_probabilities_alone_are_not_replaced(serve):
    server = serve(lambda body, n: text("1"))
    with pytest.raises(CrowdError, match=r"gives no log-probabilities; set reference\.method to"):
        ask(endpoint(server, method="logprobs"), tasks(), PROMPT)
    assert len(server.bodies) == 1


def test_a_code_as_the_first_token(serve):
    """Counts where no other option begins so."""
    server = serve(lambda body, n: logprobs({"7": 0.7, "no": 0.2, "The": 0.1}))
    coded = tasks(2, ("yes", "no"), codes=("7", "8"))
    asked = ask(endpoint(server, method="auto"), coded, PROMPT)
    np.testing.assert_allclose(asked.scored.probs, [[0.7 / 0.9, 0.2 / 0.9]] * 2, rtol=1e-6)
    nested = tasks(2, ("yes", "no"), codes=("7", "77"))
    with pytest.warns(CrowdWarning, match="2 of 2 questions: the options hold less than 50%"):
        asked = ask(endpoint(server, method="logprobs"), nested, PROMPT)
    np.testing.assert_allclose(asked.scored.probs, [[0, 1]] * 2, atol=1e-6)


# --- models that do not answer ------------------------------------------------------------------

SILENT = {
    "thinks apart": (
        says("", "length", reasoning_content="The user wants me to rate"),
        "no text (finish_reason length, after the thoughts 'The user wants me to rate')",
        "raise reference.max_tokens (16 tokens",
    ),
    "thinks and says null": (says(None, "length", reasoning="Okay, so"), "'Okay, so'", "thinking"),
    "thinks in the text": (says("<think>Okay, so", "length"), "'<think>Okay, so'", "{chat_templ"),
    "says nothing": (says(None, "length"), "no text (finish_reason length)", "reference.max_tok"),
    "is cut off": (
        says("Let me see. This", "length"),
        "'Let me see. This' (finish_reason length)",
        "cut off at 16 tokens",
    ),
    "is filtered": (says("", "content_filter"), "(finish_reason content_filter)", "filter"),
    "says else": (
        says("I cannot rate that"),
        "'I cannot rate that' (finish_reason stop)",
        "ask in reference.prompt for nothing but one",
    ),
}


@pytest.mark.parametrize("name", SILENT)
@pytest.mark.parametrize("method", ["auto", "sample"])
def test_a_model_that_never_answers_is_left_after_twelve_answers(serve, name, method, recwarn):
    answer, quoted, remedy = SILENT[name]
    server = serve(lambda body, n: answer)
    with pytest.raises(CrowdError) as error:
        ask(endpoint(server, method=method), tasks(), PROMPT)
    calls = 12 + (method == "auto")
    assert len(server.bodies) == calls
    for part in ("none of its first 12 answers is one", quoted, remedy, f"after {calls} calls"):
        assert part in str(error.value)
    assert not recwarn.list  # one message, and none of twenty times the price


@pytest.mark.parametrize(
    ("n", "samples", "calls"), [(1, 20, 12), (2, 20, 12), (5, 20, 12), (30, 1, 12), (3, 2, 6)]
)
def test_it_takes_no_more_whatever_the_questions(serve, n, samples, calls):
    """And with fewer samples in all it is told as any question without an answer."""
    server = serve(lambda body, i: text("hm"))
    some = endpoint(server, method="sample", samples=samples)
    if n * samples >= 12:
        with pytest.raises(CrowdError, match="none of its first 12 answers"):
            ask(some, tasks(n), PROMPT)
    else:
        assert np.isnan(ask(some, tasks(n), PROMPT).scored.mean).all()
    assert len(server.bodies) == calls


def test_first_tokens_that_are_never_options(serve):
    server = serve(lambda body, n: logprobs({"The": 0.9, "7": 0.1}))
    with pytest.raises(CrowdError, match="'first tokens 'The', '7''"):
        ask(endpoint(server, method="logprobs"), tasks(), PROMPT)
    assert len(server.bodies) == 12


@pytest.mark.filterwarnings("ignore::crowdllm_jax.errors.CrowdWarning")  # the hard ones' low mass
def test_first_questions_that_are_hard_do_not_end_the_run(serve):
    """The fourth is answered: then all are asked, and no sample twice."""
    hard = ("task 0\n", "task 1\n", "task 2\n")
    seen = count()

    def behave(body, n):
        asked = body["messages"][0]["content"]
        if not asked.startswith(hard):
            return text("4")
        return text("2" if next(seen) >= 30 else "hm")

    server = serve(behave)
    asked = ask(endpoint(server, method="sample"), tasks(), PROMPT)
    assert asked.calls == len(server.bodies) == N * 20
    np.testing.assert_allclose(asked.scored.mass[:3].sum() * 20, 30)
    np.testing.assert_array_equal(asked.scored.mean, [2] * 3 + [4] * (N - 3))


def test_a_model_that_has_answered_before_is_not_doubted(serve, tmp_path):
    """The two questions that it refuses are asked in full, as a run that ended would have."""
    refused = ("task 3\n", "task 4\n")
    server = serve(
        lambda body, n: text("hm" if body["messages"][0]["content"].startswith(refused) else "4")
    )
    cache, some = Cache(tmp_path / "c.sqlite"), endpoint(server, method="sample")
    for calls in (N * 20, 2 * 20):
        asked = ask(some, tasks(), PROMPT, cache=cache)
        assert asked.calls == calls
        assert list(np.flatnonzero(np.isnan(asked.scored.mean))) == [3, 4]


@quiet
@pytest.mark.parametrize(
    "answer",
    [
        says("<think>\nshort thought\n</think>\n\n4"),
        says([{"type": "text", "text": "4"}]),
        says("My answer: 4"),
        says("4", reasoning_content="well, 2?"),
    ],
)
def test_answers_in_every_form_are_read(serve, answer):
    server = serve(lambda body, n: answer)
    asked = ask(endpoint(server, samples=2), tasks(3), PROMPT)
    np.testing.assert_array_equal(asked.scored.mean, [4] * 3)
    assert (asked.calls, asked.problems) == (1 + 3 * 2, ())


# --- refusals -----------------------------------------------------------------------------------


def completion_tokens(body, n):
    if "max_tokens" in body:
        return refuses("'max_tokens' is not supported. Use 'max_completion_tokens' instead.")
    return text("4")


def test_a_field_by_another_name(serve):
    server = serve(completion_tokens)
    asked = ask(endpoint(server, method="sample", samples=2, max_tokens=9), tasks(3), PROMPT)
    assert asked.calls == 1 + 3 * 2
    assert [body.get("max_completion_tokens") for body in server.bodies] == [None, *[9] * 6]
    assert asked.how.endswith("; sent max_completion_tokens in place of max_tokens")


@pytest.mark.parametrize(("method", "calls"), [("auto", 6), ("sample", 3), ("logprobs", 3)])
@pytest.mark.parametrize(
    ("message", "system", "remedy"),
    [
        ("System role not supported", "Be brief.", "set reference.prompt.system to ''"),
        ("System role not supported", "", "reference CONFIG --show 1"),
        ("Maximum context length is 9 tokens: not supported", "", "shorten the task's text"),
        ("Unsupported parameter: max_tokens", "", "extra: {max_tokens: null}"),
    ],
)
def test_a_request_that_is_refused_whatever_is_asked(serve, method, calls, message, system, remedy):
    server = serve(lambda body, n: refuses(message))
    prompt = Prompt(user="{task}\n{options}", system=system)
    with pytest.raises(CrowdError) as error:
        ask(endpoint(server, method=method), tasks(), prompt)
    assert f"refused the first 3 questions, the last with HTTP 400: {message}" in str(error.value)
    assert remedy in str(error.value)
    assert "budget" not in str(error.value)
    assert len(server.bodies) == calls


@pytest.mark.parametrize(("message", "tries"), [("flagged, not allowed", 1), ("Bad request", 4)])
def test_a_question_that_is_refused_is_no_reason_to_stop(serve, message, tries):
    """As by a provider's filter; nor to ask for fewer alternatives of the others."""
    filtered = lambda body: body["messages"][0]["content"].startswith("task 0\n")  # noqa: E731
    server = serve(lambda body, n: refuses(message) if filtered(body) else logprobs(PEAKED))
    asked = ask(endpoint(server, method="auto"), tasks(), PROMPT)
    assert asked.calls == tries + 1 + N - 1
    assert {body["top_logprobs"] for body in server.bodies[tries + 1 :]} == {20}
    assert list(np.flatnonzero(np.isnan(asked.scored.mean))) == [0]
    [problem] = asked.problems
    assert (problem.kind, problem.fault.status) == ("failed", 400)


BUSY = {
    "inside": {"error": {"message": "overloaded", "code": 502}},
    "choices null": {"choices": None, "error": {"message": "overloaded", "code": 429}},
    "without a code": {"error": {"message": "overloaded"}},
    "in a choice": {"choices": [{"error": {"message": "overloaded", "code": 503}}]},
}


@pytest.mark.parametrize("name", BUSY)
def test_an_error_inside_an_answer_is_waited_for(serve, name):
    server = serve(lambda body, n: BUSY[name] if n in (1, 5) else logprobs(PEAKED))
    asked = ask(endpoint(server, method="auto", retries=1), tasks(9), PROMPT)
    assert (asked.calls, asked.problems) == (9 + 2, ())
    assert asked.used.input_tokens == 9 * 100  # what is refused is not billed


@pytest.mark.parametrize("name", BUSY)
def test_an_error_inside_an_answer_is_shown(serve, name):
    server = serve(lambda body, n: BUSY[name])
    with pytest.raises(CrowdError, match=r"200 answer: overloaded \(tried 2 times\)\); .*later"):
        ask(endpoint(server, method="auto", retries=1), tasks(9), PROMPT)
    assert len(server.bodies) == 2


def test_a_wait_asked_for_inside_an_answer_is_kept(serve):
    times = []

    def behave(body, n):
        times.append(time.monotonic())
        return logprobs(PEAKED) if n > 1 else lambda h: send(h, 200, BUSY["inside"], retry_after=1)

    assert ask(endpoint(serve(behave), retries=1), tasks(2), PROMPT).problems == ()
    assert times[1] - times[0] >= 0.95


BROKE = {
    "402": refuses("Insufficient credits", 402),
    "quota": refuses("You exceeded your current quota", 429, type="insufficient_quota"),
    "inside": {"error": {"message": "Insufficient credits", "code": 402}},
}


@pytest.mark.parametrize("name", BROKE)
def test_no_money_ends_the_run_and_keeps_what_was_paid(serve, tmp_path, name):
    """At once and with no second try. Each of the four in flight may be refused, no more."""
    server = serve(lambda body, n: logprobs(PEAKED) if n <= 10 else BROKE[name])
    cache = Cache(tmp_path / "c.sqlite")
    some = endpoint(server, method="auto", retries=4)
    with pytest.raises(
        CrowdError, match=r"no money left: add some there.*10 of 30 prompts are"
    ) as e:
        ask(some, tasks(), PROMPT, cache=cache)
    assert "budget" not in str(e.value)
    assert 11 <= len(server.bodies) <= 10 + 4
    assert sum(p.cached for p in [estimates(some, tasks(), PROMPT, cache=cache)["logprobs"]]) == 10


# --- as a user sees it --------------------------------------------------------------------------


def configured(ask, server, **more):
    return ask(kind="endpoint", model="fake", base_url=server.url, retries=0, **more)


def test_the_plan_tells_both_prices(ask, serve, capsys):
    server = serve(limited(5, "", PEAKED))
    path = configured(ask, server, price_in=1.0, price_out=4.0)
    assert main(["reference", str(path), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "241 at most, retries and refusals aside" in said
    assert re.search(r"only 12 calls and 0\.\d{4} USD if log-probabilities serve", said)
    assert server.bodies == []


def test_one_message_for_a_model_that_thinks(ask, serve, capsys):
    server = serve(lambda body, n: says("", "length", reasoning_content="The user"))
    assert main(["reference", str(configured(ask, server)), "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert "reference: fake does not answer with an option" in err
    assert len(server.bodies) == 13
