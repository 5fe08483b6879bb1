"""The endpoint against a fake server on 127.0.0.1 that misbehaves in every way we know of."""

import math
import re
import socket
import sys
import time
from collections import Counter
from email.utils import formatdate

import numpy as np
import pytest
from fake_server import logprobs, send, text

from crowdllm_jax.backbone import transport
from crowdllm_jax.backbone.cache import Cache
from crowdllm_jax.backbone.calls import ask, estimate_cost
from crowdllm_jax.backbone.endpoint import Endpoint
from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.backbone.reading import parse
from crowdllm_jax.errors import CrowdError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*the options hold less than"),
    pytest.mark.filterwarnings("ignore:.*so each prompt is asked 4 times"),
]
PROMPT = Prompt(user="{task}\n{options}")


def tasks(n, options=("1", "2", "3")):
    return [Question(f"task {i}", options, tuple(range(1, len(options) + 1))) for i in range(n)]


def endpoint(server, **changes):
    plain = {"method": "sample", "samples": 4, "timeout": 30, "retries": 1, "concurrency": 3}
    return Endpoint("fake", server.url, **{**plain, **changes})


GOOD = {"1": 0.5, " 1": 0.1, "3": 0.2, "The": 0.1, "7": 0.1}


def test_logprobs_are_read_in_one_call_per_question(serve):
    server = serve(lambda body, n: logprobs(GOOD))
    asked = ask(endpoint(server, method="auto"), tasks(5), PROMPT)
    np.testing.assert_allclose(asked.scored.probs, [[0.75, 0, 0.25]] * 5, rtol=1e-6)
    np.testing.assert_allclose(asked.scored.mass, [0.8] * 5, rtol=1e-6)
    np.testing.assert_allclose(asked.scored.mean, [1.5] * 5, rtol=1e-6)
    assert asked.scored.embedding is None
    assert (asked.calls, asked.problems) == (5, ())
    assert server.bodies[0]["top_logprobs"] == 20
    assert server.bodies[0]["messages"][0]["content"].startswith("task 0\n- 1")


@pytest.mark.parametrize(
    "first",
    [
        text("2"),  # the field is ignored
        lambda h: send(h, 400, {"error": {"message": "logprobs not supported"}}),
        logprobs({"The": 0.9, "1": 0.1}),  # the answer starts otherwise
    ],
)
def test_without_usable_logprobs_it_samples(serve, first):
    server = serve(lambda body, n: first if "logprobs" in body else text("2"))
    asked = ask(endpoint(server, method="auto"), tasks(2), PROMPT)
    np.testing.assert_array_equal(asked.scored.probs, [[0, 1, 0]] * 2)
    assert asked.calls == 1 + 2 * 4


def test_options_that_begin_others_are_sampled(serve):
    """The first token "1" may become "10": its log-probability says nothing certain."""
    server = serve(lambda body, n: logprobs({"1": 1.0}))
    asked = ask(endpoint(server, method="auto"), tasks(1, ("1", "10")), PROMPT)
    assert not any("logprobs" in body for body in server.bodies)
    np.testing.assert_array_equal(asked.scored.probs, [[1, 0]])


def test_samples_are_counted_and_strangers_listed(serve):
    answers = ["1", "**3**.", "I would say 2", "7"]
    server = serve(lambda body, n: text(answers[n - 1]))
    asked = ask(endpoint(server, concurrency=1), tasks(1), PROMPT)
    np.testing.assert_array_equal(asked.scored.probs, [[0.5, 0, 0.5]])
    assert asked.scored.mass == [0.5]
    assert [(p.question, p.kind, p.detail) for p in asked.problems] == [
        (0, "unparsed", "I would say 2"),
        (0, "unparsed", "7"),
    ]


def test_a_question_without_an_answer_stays_nan(serve):
    wrong = lambda body, n: text("7" if "task 1" in str(body) else "2")  # noqa: E731
    asked = ask(endpoint(serve(wrong)), tasks(3), PROMPT)
    assert np.isnan(asked.scored.mean[1])
    assert np.isnan(asked.scored.probs[1]).all()
    np.testing.assert_array_equal(asked.scored.mean[[0, 2]], [2, 2])
    assert Counter(p.question for p in asked.problems) == {1: 4}


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept_by_everyone(serve, form):
    """One call is told to wait: all others wait too, but those that were under way already."""
    times = []

    def behave(body, n):
        times.append(time.time())
        if n > 1:
            return text("2")
        after = "1.2" if form == "seconds" else formatdate(math.ceil(time.time()) + 1, usegmt=True)
        return lambda h: send(h, 429, {"error": {}}, retry_after=after)

    asked = ask(endpoint(serve(behave), samples=30), tasks(3), PROMPT)
    waited = np.array(times) - times[0]
    assert not ((waited > 0.4) & (waited < 0.95)).any()
    assert (waited >= 0.95).sum() > 30
    assert asked.problems == ()
    assert asked.calls == 1 + 3 * 30


def test_a_server_that_wants_too_long_is_left_alone(serve):
    busy = lambda h: send(h, 429, {"error": {}}, retry_after=3600)  # noqa: E731
    server = serve(lambda body, n: text("2") if "task 0" in str(body) else busy)
    began = time.monotonic()
    asked = ask(endpoint(server, samples=1, concurrency=1), tasks(5), PROMPT)
    assert time.monotonic() - began < 3
    assert [p.kind for p in asked.problems] == ["failed", *["not asked"] * 3]
    assert all("asks to wait 3600 s" in p.detail for p in asked.problems)
    assert asked.calls == 2


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [(None, None, None), ("2", 2, 2), ("-1", 0, 0), ("nan", None, None), ("soon", None, None)],
)
def test_retry_after_headers(header, low, high):
    found = transport._retry_after(header)
    assert found == low == high


def test_log_probabilities_need_options_that_differ_from_the_start(serve):
    server = serve(lambda body, n: logprobs({"1": 1.0}))
    with pytest.raises(CrowdError, match=r"options \('1', '10'\) begins another"):
        ask(endpoint(server, method="logprobs"), tasks(1, ("1", "10")), PROMPT)
    assert server.bodies == []


def hang(handler):
    time.sleep(3)


def drip(handler, status=200):
    """A byte now and then, for ever: the client's own timeout never fires."""
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def huge(handler, status=200):
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b" " * 100_000)


def cut(handler):
    """Fewer bytes than promised."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices"')


BAD = {
    "hang": (hang, "imed? ?out"),
    "drip": (drip, "no whole answer within 1.5 s"),
    "huge": (huge, "longer than 1048576 bytes"),
    "an endless error": (lambda h: drip(h, 500), "no whole answer within 1.5 s"),
    "a huge error": (lambda h: huge(h, 500), "longer than 1048576 bytes"),
    "cut": (cut, "Error"),
    "truncated JSON": (b'{"choices": [{"mess', "unusable answer"),
    "no JSON": (b"<html>", "unusable answer"),
    "a list": (b"[]", "unusable answer"),
    "empty": (b"{}", "error inside an HTTP 200 answer: it holds no choices: {}"),
    "no choices": ({"choices": []}, "it holds no choices: {.choices.: ..}"),
    "no text": (text(7), "unusable answer .TypeError"),
    "server error": (lambda h: send(h, 500, {"error": {"message": "oh"}}), "HTTP 500"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_tried_again_then_told(serve, name):
    """Task 1 always fails, task 0 fails once: the first is told, the second recovers."""
    bad, message = BAD[name]
    once = iter([True])

    def behave(body, n):
        if "task 1" in str(body) or next(once, False):
            return bad
        return text("2")

    began = time.monotonic()
    # Long enough for the good answers of a busy machine, shorter than what hangs and drips.
    asked = ask(endpoint(serve(behave), samples=1, timeout=1.5), tasks(3), PROMPT)
    assert time.monotonic() - began < 60  # tries of 1.5 s and the waits between: never without end
    np.testing.assert_array_equal(asked.scored.mean[[0, 2]], [2, 2])
    assert np.isnan(asked.scored.mean[1])
    [problem] = asked.problems
    assert (problem.question, problem.kind) == (1, "failed")
    assert "tried 2 times" in problem.detail
    assert re.search(message, problem.detail), problem.detail


@pytest.mark.parametrize(
    "top",
    [
        b'[{"token": "1", "logprob": NaN}]',
        b'[{"token": "1", "logprob": 5.0}]',
        b'[{"token": "1", "logprob": -0.1}, {"token": " 1", "logprob": -0.1}]',
        b'[{"token": "1"}]',
        b'[{"token": 1, "logprob": -0.1}]',
    ],
)
def test_log_probabilities_that_are_none(serve, top):
    answer = b'{"choices": [{"logprobs": {"content": [{"top_logprobs": ' + top + b"}]}}]}"
    server = serve(lambda body, n: answer if "task 1" in str(body) else logprobs(GOOD))
    asked = ask(endpoint(server, method="logprobs"), tasks(2), PROMPT)
    assert np.isnan(asked.scored.mean[1])
    assert asked.problems[0].detail.startswith("unusable answer")


def test_no_option_among_the_first_tokens(serve):
    server = serve(lambda body, n: logprobs({"The": 0.9, "7": 0.1}))
    asked = ask(endpoint(server, method="logprobs"), tasks(1), PROMPT)
    assert np.isnan(asked.scored.probs).all()
    assert asked.problems[0].kind == "unparsed"
    assert "'The', '7'" in asked.problems[0].detail


@pytest.mark.parametrize(("concurrency", "most"), [(1, 5 + 8), (8, 5 + 7 + 8 + 7)])
def test_a_server_that_dies_half_way(serve, tmp_path, concurrency, most):
    """What was answered is kept, the rest is told, the number of calls is bounded, and the next
    run asks only the rest.

    Eight failures in a row end a run. Of several questions in flight an answer may arrive after up
    to seven failures, which then count anew, and seven may be on their way when the last is seen.
    """
    alive = {"n": 5}
    died = lambda h: send(h, 503, {"error": {}})  # noqa: E731
    server = serve(lambda body, n: text("2") if n <= alive["n"] else died)
    cache = Cache(tmp_path / "c.sqlite")
    some = endpoint(server, samples=1, retries=0, concurrency=concurrency)
    asked = ask(some, tasks(60), PROMPT, cache=cache)
    done = np.flatnonzero(~np.isnan(asked.scored.mean))
    assert len(done) == 5
    assert 5 + 8 <= asked.calls <= most
    kinds = Counter(p.kind for p in asked.problems)
    assert kinds["failed"] + kinds["not asked"] == 55
    assert kinds["not asked"] == 60 - asked.calls
    assert "failed in a row" in next(p for p in asked.problems if p.kind == "not asked").detail
    alive["n"] = 10**6
    asked = ask(some, tasks(60), PROMPT, cache=cache)
    assert (asked.calls, asked.problems) == (55, ())
    assert not np.isnan(asked.scored.mean).any()


def test_an_interrupted_run_resumes(serve, tmp_path):
    server, cache = serve(lambda body, n: text("2")), Cache(tmp_path / "c.sqlite")

    def stop(done, total):
        assert total == 20
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(endpoint(server, samples=1), tasks(20), PROMPT, cache=cache, progress=stop)
    assert ask(endpoint(server, samples=1), tasks(20), PROMPT, cache=cache).calls == 14
    assert ask(endpoint(server, samples=1), tasks(20) * 2, PROMPT, cache=cache).calls == 0


def test_the_method_of_a_resumed_run_is_that_of_its_first_part(serve, tmp_path):
    server = serve(lambda body, n: text("2"))
    cache = Cache(tmp_path / "c.sqlite")
    auto = endpoint(server, method="auto")
    assert ask(auto, tasks(2), PROMPT, cache=cache).calls == 1 + 8
    assert ask(auto, tasks(3), PROMPT, cache=cache).calls == 4  # no second probe


def test_concurrency_is_bounded_and_used(serve):
    def slow(body, n):
        time.sleep(0.05)
        return text("2")

    server = serve(slow)
    ask(endpoint(server, samples=1, concurrency=3), tasks(12), PROMPT)
    assert 2 <= server.most <= 3


def test_the_estimate_calls_nobody_and_bounds_the_run(serve, tmp_path):
    server = serve(lambda body, n: text("2"))
    cache = Cache(tmp_path / "c.sqlite")
    some = endpoint(server, price_in=3.0, price_out=15.0)
    before = estimate_cost(some, tasks(3) + tasks(1), PROMPT, cache=cache)
    assert server.bodies == []
    assert (before.questions, before.cached, before.calls) == (3, 0, 12)
    tokens = (before.input_tokens, before.output_tokens)
    assert tokens[1] == 12 * 16
    assert before.cost == pytest.approx((3 * tokens[0] + 15 * tokens[1]) / 1e6)
    asked = ask(some, tasks(3), PROMPT, cache=cache)
    assert asked.calls == before.calls
    # As the server reports.
    assert asked.used == pytest.approx((1200, 24, 12 * (3 * 100 + 15 * 2) / 1e6))
    after = estimate_cost(some, tasks(4), PROMPT, cache=cache)
    assert (after.cached, after.calls) == (3, 4)


def test_a_budget_too_small_is_refused_before_the_first_call(serve):
    server = serve(lambda body, n: text("2"))
    with pytest.raises(CrowdError, match=r"12 calls may cost .* budget of 1e-05 USD"):
        ask(endpoint(server, price_in=3.0, budget=1e-5), tasks(3), PROMPT)
    assert server.bodies == []


def test_a_budget_that_runs_out_stops_the_run(serve):
    """The server bills more than was guessed: 1,000,000 tokens a call, 3 USD each, 10 USD."""
    answer = text("2", usage={"prompt_tokens": 10**6, "completion_tokens": 0})
    server = serve(lambda body, n: answer)
    asked = ask(
        endpoint(server, price_in=3.0, budget=10.0, samples=1, concurrency=1), tasks(9), PROMPT
    )
    assert (asked.calls, asked.used.cost) == (4, 12.0)  # 9 USD were spent when the last was begun
    assert Counter(p.kind for p in asked.problems) == {"not asked": 5}


def test_calls_under_way_count_against_the_budget():
    gate = transport.Gate(budget=2.5)
    gate.enter(1.0)
    gate.enter(1.0)
    with pytest.raises(transport.StoppedError, match=r"budget \(2\.5 USD\)"):
        gate.enter(1.0)


def test_max_calls_counts_every_try(serve):
    server = serve(lambda body, n: b"{")
    asked = ask(endpoint(server, max_calls=5, samples=1, concurrency=1), tasks(9), PROMPT)
    assert len(server.bodies) == asked.calls == 5
    assert np.isnan(asked.scored.mean).all()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_ends_the_run(serve, status):
    server = serve(lambda body, n: lambda h: send(h, status, {"error": {"message": "no"}}))
    with pytest.raises(CrowdError, match=rf"HTTP {status}.*check address, model and key") as error:
        ask(endpoint(server, concurrency=1), tasks(30), PROMPT)
    assert len(server.bodies) <= 2
    assert "secret-key" not in str(error.value)


def test_a_server_that_is_not_there(serve):
    server = serve(lambda body, n: text("2"))
    server.close()
    with pytest.raises(CrowdError, match="no answer"):
        ask(endpoint(server, method="auto", retries=0), tasks(2), PROMPT)


def test_extra_fields_reach_the_server_and_none_removes(serve):
    server = serve(lambda body, n: text("2"))
    extra = {"max_tokens": None, "max_completion_tokens": 16, "kwargs": {"enable_thinking": False}}
    ask(endpoint(server, samples=1, extra=extra), tasks(1), Prompt(system="Be brief."))
    [body] = server.bodies
    assert "max_tokens" not in body
    assert (body["max_completion_tokens"], body["kwargs"]) == (16, {"enable_thinking": False})
    assert [m["role"] for m in body["messages"]] == ["system", "user"]


def test_the_key_is_not_in_the_cache(serve, tmp_path):
    server = serve(lambda body, n: text("2"))
    ask(endpoint(server), tasks(2), PROMPT, cache=Cache(tmp_path / "c.sqlite"))
    assert b"secret-key" not in (tmp_path / "c.sqlite").read_bytes()


def test_why_a_server_is_not_reached_is_told():
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        asked = ask(Endpoint("m", url, method="sample", retries=0), tasks(1), PROMPT)
    assert "Connection refused" in asked.problems[0].detail


def test_the_openai_package_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(CrowdError, match=r"pip install \"crowdllm-jax\[endpoint\]\""):
        ask(Endpoint("m"), tasks(1), PROMPT)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("Yes", 0),
        (" yes.\n", 0),
        ('"No"', 1),
        ("- Not sure", 2),
        ("**not sure**", 2),
        ("Yes, because", None),
        ("Yes No", None),
        ("", None),
        ("N", None),
    ],
)
def test_the_parser_is_strict(answer, wanted):
    assert parse(answer, Question("t", ("Yes", "No", "Not sure"), (1, 0, 2))) == wanted


def test_the_parser_keeps_signs_and_cases_apart():
    signs = Question("t", ("-1", "1"), (-1, 1))
    assert [parse(t, signs) for t in ("-1", "1", "- 1", "- -1", "+1")] == [0, 1, 1, 0, None]
    cases = Question("t", ("us", "US"), (0, 1))
    assert [parse(t, cases) for t in ("us", "US", "Us")] == [0, 1, None]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "guess"}, "method is 'guess'"),
        ({"samples": 0}, "samples is 0"),
        ({"retries": -1}, "retries is -1"),
        ({"budget": 1.0}, "needs price_in and price_out"),
        ({"base_url": "localhost:8080/v1"}, "as in 'http://localhost:8080/v1'"),
    ],
)
def test_endpoints_are_checked(changes, message):
    with pytest.raises(CrowdError, match=message):
        Endpoint("m", **changes)
