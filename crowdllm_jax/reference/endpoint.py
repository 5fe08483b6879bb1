"""Reference decisions from any OpenAI-compatible server.

Where the server gives log-probabilities, the options' probabilities as the answer's first token
are read in one call; otherwise the question is asked repeatedly and the answers are counted. An
answer counts only if it is an option; every other one is listed, and a question without an answer
stays NaN.
"""

import json
import math
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice, permutations
from typing import Any

from crowdllm_jax.backbone.prompts import DEFAULT, Prompt, Question, shorten
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.cache import Answer, Cache, Key, Scored, assemble, warn_low_mass
from crowdllm_jax.reference.transport import FailedError, Gate, StoppedError, Usage, call, connect

_METHODS = ("auto", "logprobs", "sample")
_TOP = 20  # as many alternatives as the API gives
_GONE = 8  # so many questions failed in a row: the server is gone
_MIN_MASS = 0.5  # "auto" samples when the options hold less of the first token than this
_NO_LOGPROBS = (400, 422, 501)  # how servers refuse a field they do not know
_BYTES_PER_TOKEN = 3  # of English it is above 4, so that costs are estimated on the high side


@dataclass(frozen=True)
class Endpoint:
    """A server, a model and the bounds of a run.

    Attributes:
        model, base_url: as the openai client takes them.
        key_variable: the environment variable with the key; a local server may need none.
        method: "logprobs", "sample", or "auto": log-probabilities if no option begins another, the
            server gives them, and the options hold half of them on the first question.
        samples, temperature, max_tokens: of "sample".
        extra: further request fields; None removes one (for models that take
            max_completion_tokens: {"max_tokens": None, "max_completion_tokens": 16}).
        concurrency: questions in flight.
        timeout, retries: seconds of a call, and further tries after it failed.
        price_in, price_out: USD per million tokens.
        budget, max_calls: bounds of a run in USD and in calls, all tries counted.

    Raises CrowdError for values out of range.
    """

    model: str
    base_url: str = "https://api.openai.com/v1"
    key_variable: str = "OPENAI_API_KEY"
    method: str = "auto"
    samples: int = 20
    temperature: float = 1.0
    max_tokens: int = 16
    extra: dict[str, Any] = field(default_factory=dict)
    concurrency: int = 8
    timeout: float = 60.0
    retries: int = 4
    price_in: float = 0.0
    price_out: float = 0.0
    budget: float | None = None
    max_calls: int | None = None

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            known = ", ".join(_METHODS)
            raise CrowdError(f"endpoint.method is {self.method!r}; it may be: {known}")
        for name in ("samples", "max_tokens", "concurrency", "timeout"):
            if not getattr(self, name) > 0:
                raise CrowdError(f"endpoint.{name} is {getattr(self, name)}; it must be above 0")
        for name in ("temperature", "retries", "price_in", "price_out"):
            if not getattr(self, name) >= 0:
                raise CrowdError(f"endpoint.{name} is {getattr(self, name)}; it may not be below 0")
        if self.budget is not None and not self.price_in + self.price_out > 0:
            raise CrowdError("endpoint.budget needs price_in and price_out, USD per million tokens")


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


Notes = list[tuple[str, str]]  # a question's problems, (kind, detail)


def estimate(
    endpoint: Endpoint,
    questions: Sequence[Question],
    prompt: Prompt = DEFAULT,
    *,
    cache: Cache | None = None,
) -> Estimate:
    """What `ask` with the same arguments would take; calls nobody."""
    keys = {_key(endpoint, prompt, q) for q in questions}
    missing = keys - _known(keys, cache).keys()
    calls, tokens = len(missing), sum(map(_input_tokens, missing))
    outputs = calls
    if endpoint.method != "logprobs":
        calls, tokens = calls * endpoint.samples, tokens * endpoint.samples
        outputs = calls * endpoint.max_tokens
    if endpoint.method == "auto" and missing:  # one question may be asked both ways
        calls, outputs = calls + 1, outputs + 1
        tokens += max(map(_input_tokens, missing))
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
    nested = next((q for q in questions if _begins_another(q.options)), None)
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
    keys = [_key(endpoint, prompt, q) for q in questions]
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
        server = _Server(client, endpoint, prompt, gate)
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


def parse(text: str, question: Question, prompt: Prompt = DEFAULT) -> int | None:
    """Which option `text` is, or None. It must be the option and nothing else: as a label or as it
    was listed, give or take case, quotes and a full stop."""
    readings: tuple[Callable[[str], str], ...] = (str.strip, _bare, lambda s: _bare(s).casefold())
    for reading in readings:
        hits = [
            k
            for k, option in enumerate(question.options)
            if reading(text) in (reading(option), reading(prompt.option.format(option=option)))
        ]
        if len(hits) == 1:
            return hits[0]
    return None


def rendered(prompt: Prompt, question: Question) -> str:
    """The messages that are sent, as one text for people and for the cache."""
    return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in _messages(prompt, question))


# --- one question ------------------------------------------------------------------------------


class _NoLogprobsError(FailedError):
    pass


@dataclass(frozen=True)
class _Server:
    """Asks one question, one way or the other."""

    client: Any
    endpoint: Endpoint
    prompt: Prompt
    gate: Gate

    def answer(self, question: Question, key: Key, method: str) -> tuple[Answer | None, Notes]:
        """The answer or None, and the question's problems."""
        try:
            return getattr(self, f"by_{method}")(question, key)
        except FailedError as error:
            return None, [("failed", str(error))]
        except StoppedError as error:
            return None, [("not asked", str(error))]

    def by_logprobs(self, question: Question, key: Key) -> tuple[Answer | None, Notes]:
        fields = {"logprobs": True, "top_logprobs": _TOP, "max_tokens": 1, "temperature": 1.0}
        found = self._call(question, key, fields, lambda a: _first_token(a, question))
        if found is None:
            raise _NoLogprobsError('the server gives no log-probabilities; use method "sample"')
        mass, first = math.fsum(found[0]), found[1]
        if mass == 0:
            return None, [("unparsed", f"among the likely first tokens is no option: {first}")]
        return Answer(tuple(p / mass for p in found[0]), min(mass, 1.0), "logprobs"), []

    def by_sample(self, question: Question, key: Key) -> tuple[Answer | None, Notes]:
        e = self.endpoint
        fields = {"max_tokens": e.max_tokens, "temperature": e.temperature}
        counts, notes = [0] * len(question.options), []
        for _ in range(e.samples):
            text = self._call(question, key, fields, _text)
            chosen = parse(text, question, self.prompt)
            if chosen is None:
                notes.append(("unparsed", shorten(text, 80)))
            else:
                counts[chosen] += 1
        parsed = sum(counts)
        if not parsed:
            return None, notes
        return Answer(tuple(n / parsed for n in counts), parsed / e.samples, "sample"), notes

    def _call(
        self,
        question: Question,
        key: Key,
        fields: dict[str, Any],
        read: Callable[[dict[str, Any]], Any],
    ) -> Any:
        e = self.endpoint
        body = {"model": e.model, "messages": _messages(self.prompt, question), **fields, **e.extra}

        def priced(read: int, written: int) -> Usage:
            return Usage(read, written, (read * e.price_in + written * e.price_out) / 1e6)

        expected = priced(_input_tokens(key), fields["max_tokens"])

        def usage_of(answer: dict[str, Any]) -> Usage:
            usage = answer.get("usage") or {}
            read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
            if not (isinstance(read, int) and isinstance(written, int) and min(read, written) >= 0):
                return expected  # the server does not say: the guess stands
            return priced(read, written)

        return call(
            self.client,
            {name: value for name, value in body.items() if value is not None},
            read,
            self.gate,
            expected=expected,
            usage=usage_of,
            timeout=e.timeout,
            retries=e.retries,
        )


def _choose(
    server: _Server,
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
        if error.status in _NO_LOGPROBS or isinstance(error, _NoLogprobsError):
            return "sample"
        raise CrowdError(f"{server.endpoint.base_url}: no answer ({error})") from None
    if answer is None or answer.mass < _MIN_MASS:
        return "sample"
    record(key, answer, [])
    return "logprobs"


def _first_token(answer: dict[str, Any], question: Question) -> tuple[list[float], str] | None:
    """The probability of each option as the whole first token, and the likeliest first tokens for
    a message; None without log-probabilities."""
    given = (answer["choices"][0].get("logprobs") or {}).get("content")
    if not given or not given[0].get("top_logprobs"):
        return None
    probs, seen = [0.0] * len(question.options), []
    for entry in given[0]["top_logprobs"]:
        token, logp = entry["token"], float(entry["logprob"])
        if math.isnan(logp) or logp > 1e-3:
            raise ValueError(f"{logp} is no log-probability")
        seen.append(token)
        if token.strip() in question.options:  # "1" and " 1" are one answer
            probs[question.options.index(token.strip())] += math.exp(min(logp, 0.0))
    if math.fsum(probs) > 1.001:
        raise ValueError("the probabilities of the first token sum to more than one")
    return probs, ", ".join(repr(t) for t in seen[:5])


def _text(answer: dict[str, Any]) -> str:
    content = answer["choices"][0]["message"].get("content")
    if not isinstance(content, str | None):
        raise TypeError("the message's content is no text")
    return content or ""


def _begins_another(options: Sequence[str]) -> bool:
    return any(long.startswith(short) for short, long in permutations(options, 2))


def _bare(text: str) -> str:
    quotes = "\"'`*"
    return text.strip().strip(quotes).strip().removesuffix(".").strip(quotes).strip()


# --- many questions ----------------------------------------------------------------------------


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


def _messages(prompt: Prompt, question: Question) -> list[dict[str, str]]:
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return [*system, {"role": "user", "content": prompt.message(question)[0]}]


def _key(endpoint: Endpoint, prompt: Prompt, question: Question) -> Key:
    parameters = {
        "method": endpoint.method,
        "samples": endpoint.samples,
        "temperature": endpoint.temperature,
        "max_tokens": endpoint.max_tokens,
        "extra": endpoint.extra,
        "option": prompt.option,  # an answer may repeat the listed line
    }
    return Key(
        model=endpoint.model,
        revision=endpoint.base_url,
        prompt=rendered(prompt, question),
        task=question.text,
        options=question.options,
        parameters=json.dumps(parameters, sort_keys=True, ensure_ascii=False),
    )


def _input_tokens(key: Key) -> int:
    return 16 + len(key.prompt.encode()) // _BYTES_PER_TOKEN  # 16: what a chat template adds
