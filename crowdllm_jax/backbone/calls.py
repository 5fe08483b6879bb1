"""Many questions to one server: within bounds, several at a time, each answer kept as it comes.

An answer that is no option is listed, and a question without an answer stays NaN.
"""

import os
import warnings
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from crowdllm_jax.backbone.answers import Answer, Scored, assemble, warn_low_mass
from crowdllm_jax.backbone.cache import Cache, Key
from crowdllm_jax.backbone.endpoint import (
    Endpoint,
    Note,
    Server,
    input_tokens,
    key_of,
    output_tokens,
)
from crowdllm_jax.backbone.fault import Fault
from crowdllm_jax.backbone.questions import DEFAULT, Prompt, Question, shorten
from crowdllm_jax.backbone.reading import begins_another
from crowdllm_jax.backbone.remedy import of_failure
from crowdllm_jax.backbone.settle import FEW, settle
from crowdllm_jax.backbone.terms import Terms
from crowdllm_jax.backbone.transport import Gate, Usage, connect
from crowdllm_jax.errors import CrowdError, CrowdWarning

_GONE = 8  # so many questions failed in a row: the server is gone
_NESTED = "an option is how another one begins"


@dataclass(frozen=True)
class CostEstimate:
    """What a run will take at most, retries aside: distinct questions, those already cached, calls,
    tokens (guessed from the texts' lengths, on the high side) and USD."""

    questions: int
    cached: int
    calls: int
    input_tokens: int
    output_tokens: int
    cost: float


@dataclass(frozen=True)
class Problem:
    """What a question (by its place) did not give. `kind` is "unparsed" (an answer that is no
    option; `detail` is its text), "vague" (options are missing among the listed tokens, which
    leaves so much open), "failed" or "not asked" (`detail` is the reason; `fault` what the server
    said, if it refused)."""

    question: int
    kind: str
    detail: str
    fault: Fault | None = None


@dataclass(frozen=True)
class Asked:
    """The reference decisions, everything that went wrong, and what the run took: calls, all tries
    counted, and tokens and USD, as the server reports them (guessed where it does not); `how` it
    was asked, for people."""

    scored: Scored
    problems: tuple[Problem, ...]
    calls: int
    used: Usage
    how: str


def estimate_cost(
    endpoint: Endpoint,
    questions: Sequence[Question],
    prompt: Prompt = DEFAULT,
    *,
    cache: Cache | None = None,
) -> CostEstimate:
    """What `ask` with the same arguments would take; calls nobody."""
    return max(estimates(endpoint, questions, prompt, cache=cache).values(), key=lambda e: e.calls)


def estimates(
    endpoint: Endpoint,
    questions: Sequence[Question],
    prompt: Prompt = DEFAULT,
    *,
    cache: Cache | None = None,
) -> dict[str, CostEstimate]:
    """The same by method: of method "auto" both, unless it is known which it will be."""
    keys = {key_of(endpoint, prompt, q) for q in questions}
    known = _known(keys, cache)
    missing = keys - known.keys()
    method = _certain(endpoint, questions, known)
    by_question = {}
    for name in ("logprobs", "sample") if method == "auto" else (method,):
        calls, tokens, outputs = _plan(endpoint, missing, name)
        if method == "auto" and name == "sample" and missing:  # one question is asked both ways
            calls, outputs = calls + 1, outputs + 1
            tokens += max(map(input_tokens, missing))
        cost = (tokens * endpoint.price_in + outputs * endpoint.price_out) / 1e6
        by_question[name] = CostEstimate(
            len(keys), len(keys) - len(missing), calls, tokens, outputs, cost
        )
    return by_question


def _plan(endpoint: Endpoint, missing: Collection[Key], method: str) -> tuple[int, int, int]:
    """Calls and tokens (in, out) that questions take at most."""
    times = endpoint.samples if method == "sample" else 1
    most = output_tokens(endpoint, endpoint.max_tokens if method == "sample" else 1)
    calls = times * len(missing)
    return calls, times * sum(map(input_tokens, missing)), calls * most


def _certain(endpoint: Endpoint, questions: Sequence[Question], known: dict[Key, Answer]) -> str:
    """The method, as far as it is certain before anybody is asked: that of earlier answers, so
    that a run's tasks stay comparable."""
    if endpoint.method != "auto":
        return endpoint.method
    if known:
        return next(iter(known.values())).method
    return "sample" if _nested(questions) is not None else "auto"


def _nested(questions: Sequence[Question]) -> Question | None:
    return next((q for q in questions if begins_another(q.options)), None)


def ask(
    endpoint: Endpoint,
    questions: Sequence[Question],
    prompt: Prompt = DEFAULT,
    *,
    cache: Cache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Asked:
    """Ask the server every question that the cache does not answer.

    Answers are stored one by one, so that a run resumes after an interrupt, an exhausted budget or
    a server that died. `progress` is called with (answered, all).

    Raises:
        CrowdError: the openai package is missing, the estimate exceeds the budget, the method
            does not suit the options, the server refuses key, address, model or whatever it is
            asked, the model's answers are no options, or (method "auto") the server fails on the
            first question.
    Warns:
        CrowdWarning: "auto" has to sample, the answers leave much open, or options hold little.
    """
    nested = _nested(questions)
    if endpoint.method == "logprobs" and nested is not None:
        raise CrowdError(
            f"question {shorten(nested.text)!r}: one of the options {nested.options} begins "
            'another, which a first token does not tell; use method "sample" or other labels'
        )
    likely = min(estimates(endpoint, questions, prompt, cache=cache).values(), key=lambda e: e.cost)
    _afford(endpoint, likely.calls, likely.cost)
    keys = [key_of(endpoint, prompt, q) for q in questions]
    place: dict[Key, int] = {}
    for i, key in enumerate(keys):
        place.setdefault(key, i)
    run = _Run(endpoint, questions, place, _known(place, cache), cache, progress)
    how = run.ask(prompt)
    scored = assemble(questions, [run.known.get(k) for k in keys])
    warn_low_mass(questions, scored, endpoint.model)
    problems = tuple(sorted(run.problems, key=lambda p: p.question))
    _warn_vague(problems)
    return Asked(scored, problems, run.gate.calls, run.gate.used, how)


def _afford(endpoint: Endpoint, calls: int, cost: float, why: str = "") -> None:
    if endpoint.budget is not None and cost > endpoint.budget:
        raise CrowdError(
            f"{why}{calls} calls may cost {cost:.2f} USD, more than the budget of "
            f"{endpoint.budget:g} USD; raise it, or lower samples or the number of questions"
        )


def _warn_vague(problems: Sequence[Problem]) -> None:
    vague = [p.detail for p in problems if p.kind == "vague"]
    if vague:
        warnings.warn(
            f"{len(vague)} question(s): {vague[0]}, for the server lists too few; the middle of "
            "what is possible was taken. reference.method sample asks repeatedly instead",
            CrowdWarning,
            stacklevel=3,
        )


class _Run:
    """The questions of one run (their places by key), what is known of them, and its problems."""

    def __init__(
        self,
        endpoint: Endpoint,
        questions: Sequence[Question],
        place: dict[Key, int],
        known: dict[Key, Answer],
        cache: Cache | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.endpoint, self.questions, self.place = endpoint, questions, place
        self.known, self.cache, self.progress = known, cache, progress
        self.gate = Gate(endpoint.max_calls, endpoint.budget)
        self.problems: list[Problem] = []
        self._tried: set[Key] = set()

    def ask(self, prompt: Prompt) -> str:
        """Ask what is not known; returns how."""
        endpoint, earlier = self.endpoint, bool(self.known)
        method = _certain(endpoint, self.questions, self.known)
        start = list(islice(self._pending(), FEW))
        if not start:
            return f"earlier answers, by {method}"
        secret = os.environ.get(endpoint.key_variable) or "none"
        client = connect(endpoint.base_url, secret, endpoint.timeout)
        server = Server(client, endpoint, prompt, self.gate, Terms())
        pairs = [(key, self.questions[self.place[key]]) for key in start]
        settled = settle(server, method, pairs, self._record, self._afford_samples, earlier)
        self._check()
        if settled.why:
            self._warn_samples(settled.why)
        elif endpoint.method == "auto" and _nested(self.questions) is not None:
            settled = replace(settled, why=_NESTED)

        def work(key: Key) -> tuple[Answer | None, list[Note]]:
            question = self.questions[self.place[key]]
            return settled.server.answer(question, key, settled.method, settled.begun.pop(key, ()))

        self._all(work)
        self._check()
        return str(settled)

    def _all(self, work: Callable[[Key], tuple[Answer | None, list[Note]]]) -> None:
        failed = 0
        with closing(_run(work, self._pending(), self.endpoint.concurrency, self.gate)) as answers:
            for key, (answer, notes) in answers:
                self._record(key, answer, notes)
                failed = failed + 1 if answer is None and notes[-1].kind == "failed" else 0
                if failed >= _GONE:
                    last = notes[-1].detail
                    self.gate.stop(f"{failed} questions failed in a row, the last: {last}")

    def _check(self) -> None:
        """Raise what the server refuses every question with."""
        if self.gate.refused is not None:
            fault, done = self.gate.refused, len(self.known)
            kept = f" ({done} of {len(self.place)} prompts are answered and kept)" if done else ""
            remedy = of_failure(fault, self.endpoint, Prompt())
            raise CrowdError(f"{self.endpoint.base_url}: {fault}; {remedy}{kept}")

    def _record(self, key: Key, answer: Answer | None, notes: Sequence[Note]) -> None:
        self.problems.extend(Problem(self.place[key], *note) for note in notes)
        self._tried.add(key)
        if answer is not None:
            self.known[key] = answer
            if self.cache is not None:
                self.cache.put([(key, answer)])
        if self.progress is not None:
            self.progress(len(self.known), len(self.place))

    def _pending(self) -> Iterator[Key]:
        for key in self.place:
            if key not in self.known and key not in self._tried:
                # Another process may have asked meanwhile.
                self.known.update(_known([key], self.cache))
                if key not in self.known:
                    yield key

    def _left(self) -> tuple[int, float]:
        """Calls and USD that sampling takes at most."""
        e = self.endpoint
        calls, tokens, outputs = _plan(e, self.place.keys() - self.known.keys(), "sample")
        return calls, (tokens * e.price_in + outputs * e.price_out) / 1e6

    def _afford_samples(self, why: str) -> None:
        _afford(self.endpoint, *self._left(), f"{why}; sampling instead: ")

    def _warn_samples(self, why: str) -> None:
        calls, cost = self._left()
        e = self.endpoint
        priced = f" and {cost:,.4f} USD" if e.price_in + e.price_out > 0 else ""
        warnings.warn(
            f"{why}, so each prompt is asked {e.samples} times instead of once: up to {calls:,} "
            f"calls{priced}. reference.samples lowers this, and method: logprobs refuses it",
            CrowdWarning,
            stacklevel=4,
        )


def _run(
    work: Callable[[Key], tuple[Answer | None, list[Note]]],
    keys: Iterable[Key],
    concurrency: int,
    gate: Gate,
) -> Generator[tuple[Key, tuple[Answer | None, list[Note]]], None, None]:
    """`work` on every key, as they finish; never more than `concurrency` begun."""
    running: dict[Future[Any], Key] = {}
    source = iter(keys)
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            while True:
                for key in islice(source, concurrency - len(running)):
                    running[pool.submit(work, key)] = key
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), done.result()
        finally:
            gate.stop("the run was interrupted")  # else the pool would wait for its retries


def _known(keys: Collection[Key], cache: Cache | None) -> dict[Key, Answer]:
    if cache is None:
        return {}
    pairs = zip(keys, cache.get(list(keys)), strict=True)
    return {key: answer for key, answer in pairs if answer is not None}
