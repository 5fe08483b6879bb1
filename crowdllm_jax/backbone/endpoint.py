"""An OpenAI-compatible server, and one question to it.

Where the server gives log-probabilities, the options' probabilities as the answer's first token
are read in one call; otherwise the question is asked repeatedly and the answers are counted. An
answer counts only if it is an option, and nothing is made up for a question without one.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crowdllm_jax.backbone.answers import Answer
from crowdllm_jax.backbone.cache import Key
from crowdllm_jax.backbone.fault import Fault
from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.backbone.reading import Said, chosen, first_token, said
from crowdllm_jax.backbone.terms import TOP, Terms
from crowdllm_jax.backbone.transport import FailedError, Gate, StoppedError, Usage, call
from crowdllm_jax.errors import CrowdError

_METHODS = ("auto", "logprobs", "sample")
_VAGUE = 0.1  # a list that leaves more than this open is told
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
        extra: further request fields; None removes one.
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
        if not self.base_url.startswith(("http://", "https://")):
            raise CrowdError(
                f"endpoint.base_url is {self.base_url!r}; it must begin with http:// or https://, "
                f"as in 'http://{self.base_url.rpartition('://')[2]}'"
            )
        for name in ("samples", "max_tokens", "concurrency", "timeout"):
            if not getattr(self, name) > 0:
                raise CrowdError(f"endpoint.{name} is {getattr(self, name)}; it must be above 0")
        for name in ("temperature", "retries", "price_in", "price_out"):
            if not getattr(self, name) >= 0:
                raise CrowdError(f"endpoint.{name} is {getattr(self, name)}; it may not be below 0")
        if self.budget is not None and not self.price_in + self.price_out > 0:
            raise CrowdError("endpoint.budget needs price_in and price_out, USD per million tokens")


class Note(NamedTuple):
    """A problem of a question: its kind (see `calls.Problem`), what it is, and what the server
    said where it refused."""

    kind: str
    detail: str
    fault: Fault | None = None


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
    terms: Terms

    def answer(
        self, question: Question, key: Key, method: str, begun: Sequence[Said] = ()
    ) -> tuple[Answer | None, list[Note]]:
        """The answer or None, and the question's problems; `begun` are samples already taken."""
        try:
            if method == "logprobs":
                return self.by_logprobs(question, key)[:2]
            rest = self.samples(question, key, self.endpoint.samples - len(begun))
            return self.counted(question, [*begun, *rest])
        except FailedError as error:
            return None, [Note("failed", str(error), error.fault)]
        except StoppedError as error:
            return None, [Note("not asked", str(error))]

    def by_logprobs(
        self, question: Question, key: Key
    ) -> tuple[Answer | None, list[Note], tuple[float, str]]:
        """The same from log-probabilities; and the share of the answer that the server's list
        leaves open, and its likeliest tokens."""
        fields = {"logprobs": True, "top_logprobs": TOP, "max_tokens": 1, "temperature": 1.0}
        scored = self._call(question, key, fields, lambda a: first_token(a, question))
        if scored is None:
            raise NoLogprobsError("the server gives no log-probabilities")
        probs, hidden, likely = scored
        mass = math.fsum(probs)
        if mass == 0:
            detail = f"among the likely first tokens is no option: {likely}"
            return None, [Note("unparsed", detail)], (1.0, likely)
        # What is known of an option beyond the list are bounds; it gets the middle of them.
        missing = probs.count(0.0)
        probs = [p or hidden / 2 / missing for p in probs]
        total, open_ = math.fsum(probs), hidden / (mass + hidden)
        notes = []
        if open_ > _VAGUE:
            detail = f"options beyond the listed tokens may hold up to {open_:.0%} of the answer"
            notes.append(Note("vague", detail))
        answer = Answer(tuple(p / total for p in probs), min(mass, 1.0), "logprobs")
        return answer, notes, (open_, likely)

    def samples(self, question: Question, key: Key, count: int) -> list[Said]:
        """So many answers, one after the other."""
        e = self.endpoint
        fields = {"max_tokens": e.max_tokens, "temperature": e.temperature}
        return [self._call(question, key, fields, said) for _ in range(count)]

    def counted(
        self, question: Question, samples: Sequence[Said]
    ) -> tuple[Answer | None, list[Note]]:
        """What a question's samples come to."""
        counts, notes = [0] * len(question.options), []
        for one in samples:
            option = chosen(one, question, self.prompt)
            if option is None:
                notes.append(Note("unparsed", str(one)))
            else:
                counts[option] += 1
        parsed = sum(counts)
        if not parsed:
            return None, notes
        return Answer(tuple(n / parsed for n in counts), parsed / len(samples), "sample"), notes

    def _call(
        self,
        question: Question,
        key: Key,
        fields: dict[str, Any],
        read: Callable[[dict[str, Any]], Any],
    ) -> Any:
        e = self.endpoint
        body = {"model": e.model, "messages": _messages(self.prompt, question)}
        body |= {k: v for k, v in {**fields, **e.extra}.items() if v is not None}
        sent = self.terms.put(body)

        def priced(read: int, written: int) -> Usage:
            return Usage(read, written, (read * e.price_in + written * e.price_out) / 1e6)

        expected = priced(input_tokens(key), output_tokens(e, fields["max_tokens"]))

        def usage_of(answer: dict[str, Any]) -> Usage:
            usage = answer.get("usage") or {}
            read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
            if not (isinstance(read, int) and isinstance(written, int) and min(read, written) >= 0):
                return expected  # the server does not say: the guess stands
            return priced(read, written)

        try:
            return call(
                self.client,
                sent,
                read,
                self.gate,
                expected=expected,
                usage=usage_of,
                timeout=e.timeout,
                retries=e.retries,
            )
        except FailedError as error:
            error.sent = sent
            raise


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
    if question.codes:
        parameters["codes"] = question.codes  # or be one of these
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


def output_tokens(endpoint: Endpoint, most: int) -> int:
    """The tokens of an answer at most: `most`, or what `extra` puts in its place."""
    for name in ("max_completion_tokens", "max_tokens"):
        configured = endpoint.extra.get(name)
        if isinstance(configured, int):
            return configured
    return most
