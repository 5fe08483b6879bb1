"""Many questions to one server: within bounds, several at a time, each answer kept as it comes.

An answer that is no option is listed, and a question without an answer stays NaN.
"""

import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from crowdllm_jax.backbone.prompts import DEFAULT, Prompt, Question, shorten
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.cache import Answer, Cache, Key, Scored, assemble, warn_low_mass
from crowdllm_jax.reference.endpoint import (
    Endpoint,
    NoLogprobsError,
    Notes,
    Server,
    begins_another,
    input_tokens,
    key_of,
)
from crowdllm_jax.reference.transport import FailedError, Gate, StoppedError, Usage, connect

_GONE = 8  # so many questions failed in a row: the server is gone
_MIN_MASS = 0.5  # "auto" samples when the options hold less of the first token than this
_NO_LOGPROBS = (400, 422, 501)  # how servers refuse a field they do not know


@dataclass(frozen=True)
class Estimate:
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
    option; `detail` is its text), "failed" or "not asked" (`detail` is the reason)."""

    question: int
    kind: str
    detail: str


@dataclass(frozen=True)
class Asked:
    """The reference decisions, everything that went wrong, and what the run took: calls, all tries
    counted, and tokens and USD, as the server reports them (guessed where it does not)."""

    scored: Scored
    problems: tuple[Problem, ...]
    calls: int
    used: Usage


def estimate(
    endpoint: Endpoint,
    questions: Sequence[Question],
    prompt: Prompt = DEFAULT,
    *,
    cache: Cache | None = None,
) -> Estimate:
    """What `ask` with the same arguments would take; calls nobody."""
    keys = {key_of(endpoint, prompt, q) for q in questions}
    missing = keys - _known(keys, cache).keys()
    calls, tokens = len(missing), sum(map(input_tokens, missing))
    outputs = calls
    if endpoint.method != "logprobs":
        calls, tokens = calls * endpoint.samples, tokens * endpoint.samples
        outputs = calls * endpoint.max_tokens
    if endpoint.method == "auto" and missing:  # one question may be asked both ways
        calls, outputs = calls + 1, outputs + 1
        tokens += max(map(input_tokens, missing))
    cost = (tokens * endpoint.price_in + outputs * endpoint.price_out) / 1e6
    return Estimate(len(keys), len(keys) - len(missing), calls, tokens, outputs, cost)


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
            does not suit the options, the server refuses key, address or model, or (method "auto")
            fails on the first question.
    """
    nested = next((q for q in questions if begins_another(q.options)), None)
    if endpoint.method == "logprobs" and nested is not None:
        raise CrowdError(
            f"question {shorten(nested.text)!r}: one of the options {nested.options} begins "
            'another, which a first token does not tell; use method "sample" or other labels'
        )
    likely = estimate(endpoint, questions, prompt, cache=cache)
    if endpoint.budget is not None and likely.cost > endpoint.budget:
        raise CrowdError(
            f"{likely.calls} calls may cost {likely.cost:.2f} USD, more than the budget of "
            f"{endpoint.budget:g} USD; raise it, or lower samples or the number of questions"
        )
    keys = [key_of(endpoint, prompt, q) for q in questions]
    place: dict[Key, int] = {}
    for i, key in enumerate(keys):
        place.setdefault(key, i)
    known = _known(place, cache)
    gate = Gate(endpoint.max_calls, endpoint.budget)
    problems: list[Problem] = []

    def record(key: Key, answer: Answer | None, notes: Notes) -> None:
        problems.extend(Problem(place[key], kind, detail) for kind, detail in notes)
        if answer is not None:
            known[key] = answer
            if cache is not None:
                cache.put([(key, answer)])
        if progress is not None:
            progress(len(known), len(place))

    def pending() -> Iterator[Key]:
        for key in place:
            if key not in known:
                known.update(_known([key], cache))  # another process may have asked meanwhile
            if key not in known:
                yield key

    if len(known) < len(place):
        secret = os.environ.get(endpoint.key_variable) or "none"
        client = connect(endpoint.base_url, secret, endpoint.timeout)
        server = Server(client, endpoint, prompt, gate)
        method = endpoint.method
        if method == "auto" and nested is not None:
            method = "sample"
        if method == "auto":
            method = _choose(server, questions, place, known, record)

        def work(key: Key) -> tuple[Answer | None, Notes]:
            return server.answer(questions[place[key]], key, method)

        failed = 0
        with closing(_run(work, pending(), endpoint.concurrency, gate)) as answers:
            for key, (answer, notes) in answers:
                record(key, answer, notes)
                failed = failed + 1 if answer is None and notes[-1][0] == "failed" else 0
                if failed >= _GONE:
                    gate.stop(f"{failed} questions failed in a row, the last: {notes[-1][1]}")
    scored = assemble(questions, [known.get(k) for k in keys])
    warn_low_mass(questions, scored)
    return Asked(scored, tuple(sorted(problems, key=lambda p: p.question)), gate.calls, gate.used)


def _choose(
    server: Server,
    questions: Sequence[Question],
    place: dict[Key, int],
    known: dict[Key, Answer],
    record: Callable[[Key, Answer | None, Notes], None],
) -> str:
    """The one method of a run, so that its tasks stay comparable; see `Endpoint.method`."""
    if known:
        return next(iter(known.values())).method
    key = next(iter(place))
    question = questions[place[key]]
    try:
        answer, _ = server.by_logprobs(question, key)
    except StoppedError as error:
        raise CrowdError(f"endpoint: no call was possible ({error})") from None
    except FailedError as error:
        if error.status in _NO_LOGPROBS or isinstance(error, NoLogprobsError):
            return "sample"
        raise CrowdError(f"{server.endpoint.base_url}: no answer ({error})") from None
    if answer is None or answer.mass < _MIN_MASS:
        return "sample"
    record(key, answer, [])
    return "logprobs"


def _run(
    work: Callable[[Key], tuple[Answer | None, Notes]],
    keys: Iterable[Key],
    concurrency: int,
    gate: Gate,
) -> Generator[tuple[Key, tuple[Answer | None, Notes]], None, None]:
    """`work` on every key, as they finish; never more than `concurrency` begun."""
    running: dict[Future, Key] = {}
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
    found = zip(keys, cache.get(list(keys)), strict=True)
    return {key: answer for key, answer in found if answer is not None}
