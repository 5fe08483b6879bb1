"""An OpenAI-compatible server, and one question to it.

Where the server gives log-probabilities, the options' probabilities as the answer's first token
are read in one call; otherwise the question is asked repeatedly and the answers are counted. An
answer counts only if it is an option, and nothing is made up for a question without one.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from crowdllm_jax.backbone.prompts import DEFAULT, Prompt, Question, shorten
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.cache import Answer, Key
from crowdllm_jax.reference.transport import FailedError, Gate, StoppedError, Usage, call

_METHODS = ("auto", "logprobs", "sample")
_TOP = 20  # as many alternatives as the API gives
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


Notes = list[tuple[str, str]]  # a question's problems, (kind, detail)


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


class NoLogprobsError(FailedError):
    """The server answers, but without log-probabilities."""


@dataclass(frozen=True)
class Server:
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
            raise NoLogprobsError('the server gives no log-probabilities; use method "sample"')
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

        expected = priced(input_tokens(key), fields["max_tokens"])

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


def begins_another(options: Sequence[str]) -> bool:
    """Whether an option is how another one begins, which a first token does not tell apart."""
    return any(long.startswith(short) for short, long in permutations(options, 2))


def _bare(text: str) -> str:
    quotes = "\"'`*"
    return text.strip().strip(quotes).strip().removesuffix(".").strip(quotes).strip()


def _messages(prompt: Prompt, question: Question) -> list[dict[str, str]]:
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return [*system, {"role": "user", "content": prompt.message(question)[0]}]


def key_of(endpoint: Endpoint, prompt: Prompt, question: Question) -> Key:
    """All that decides the answer to a question."""
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


def input_tokens(key: Key) -> int:
    """A guess at the tokens of a prompt, on the high side."""
    return 16 + len(key.prompt.encode()) // _BYTES_PER_TOKEN  # 16: what a chat template adds
