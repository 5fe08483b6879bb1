"""One bounded call to an OpenAI-compatible server: in size, in time, in tries and in money."""

import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from crowdllm_jax.backbone.fault import Fault, fault, inside
from crowdllm_jax.backbone.questions import shorten
from crowdllm_jax.errors import CrowdError

MAX_BYTES = 1 << 20  # an answer of a few tokens is far smaller
MAX_WAIT = 120.0  # seconds; a server that wants longer ends the run, to be resumed later
_UNUSABLE = (ValueError, KeyError, TypeError, IndexError, AttributeError)
_AGAIN = (408, 409, 425, 429)  # and every 5xx


class Usage(NamedTuple):
    """Tokens of one call or many, and what they cost (USD)."""

    input_tokens: int
    output_tokens: int
    cost: float


class FailedError(Exception):
    """This question got no usable answer. `fault` is what the server said, if it refused, and
    `sent` the request."""

    def __init__(self, reason: str, fault: Fault | None = None) -> None:
        super().__init__(reason)
        self.fault = fault
        self.sent: Mapping[str, Any] = {}


class StoppedError(Exception):
    """The run is over: budget or calls are spent, or the server is gone."""


class Gate:
    """What all threads of a run share: the money and calls left, the time until which the server
    wants to be left alone, and the word to stop."""

    def __init__(self, max_calls: int | None = None, budget: float | None = None) -> None:
        self.calls, self.used = 0, Usage(0, 0, 0.0)
        self._max_calls, self._budget = max_calls, budget
        self._reserved, self._resume_at = 0.0, 0.0
        self._stopped: str | None = None
        self.refused: Fault | None = None  # what the server refuses every question with
        self._lock, self._wake = threading.Lock(), threading.Event()

    def enter(self, expected: float) -> None:
        """Wait for one's turn and reserve a call's expected cost (USD); raises StoppedError."""
        while (pause := self._resume_at - time.monotonic()) > 0 and not self._stopped:
            self.sleep(pause)
        with self._lock:
            if self._stopped:
                pass
            elif self._max_calls is not None and self.calls >= self._max_calls:
                self._stopped = f"max_calls ({self._max_calls}) is used up"
            elif self._over(expected):
                self._stopped = f"the budget ({self._budget:g} USD) is used up"
            if self._stopped:
                raise StoppedError(self._stopped)
            self.calls += 1
            self._reserved += expected

    def _over(self, expected: float) -> bool:
        committed = self.used.cost + self._reserved + expected
        return self._budget is not None and committed > self._budget

    def settle(self, expected: float, actual: Usage) -> None:
        """Replace a reservation by what the call used."""
        with self._lock:
            self._reserved -= expected
            read, written, cost = self.used
            self.used = Usage(
                read + actual.input_tokens, written + actual.output_tokens, cost + actual.cost
            )

    def hold(self, seconds: float) -> None:
        """Let nobody call for so long."""
        with self._lock:
            self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def stop(self, reason: str) -> None:
        """End the run: sleepers wake, nobody enters any more."""
        with self._lock:
            self._stopped = self._stopped or reason
        self._wake.set()

    def refuse(self, fault: Fault) -> None:
        """End the run, for the server refuses it whatever the question."""
        with self._lock:
            self.refused = self.refused or fault
        self.stop(str(fault))

    def sleep(self, seconds: float) -> None:
        """Wait, unless the calls are to end."""
        if seconds > 0:
            self._wake.wait(seconds)


def connect(base_url: str, key: str, timeout: float) -> Any:
    """An openai client without retries of its own (each try is counted here)."""
    try:
        import openai
    except ImportError:
        raise CrowdError(
            'an endpoint needs the openai package: pip install "crowdllm-jax[endpoint]"'
        ) from None

    def refuse(response: Any) -> None:
        """Raise what an error says: the client would read all of it, however long it goes on."""
        if response.is_error:
            text = bytes(_bounded(response.iter_bytes(), timeout)).decode(errors="replace")
            after = _retry_after(response.headers.get("retry-after"))
            raise _RefusedError(fault(text, response.status_code, after))

    return openai.OpenAI(
        base_url=base_url,
        api_key=key,
        timeout=timeout,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(event_hooks={"response": [refuse]}),
    )


def call(
    client: Any,
    body: Mapping[str, Any],
    read: Callable[[dict[str, Any]], Any],
    gate: Gate,
    *,
    expected: Usage,
    usage: Callable[[dict[str, Any]], Usage],
    timeout: float,
    retries: int,
) -> Any:
    """`read` of the server's JSON answer to `body`, tried again where that may help.

    `read` raises one of `_UNUSABLE` on an answer it cannot use. `expected` is what a call uses
    at most and `usage` what an answer did use.

    Raises FailedError with the last reason, or StoppedError. Where no call can succeed, the gate is
    told so.
    """
    reason, last = "", None
    for attempt in range(retries + 1):
        gate.enter(expected.cost)
        used, wait = expected, random.uniform(0.5, 1.0) * min(2.0**attempt / 2, 30.0)
        answer: dict[str, Any] | None = None
        try:
            answer, after = _fetch(client, body, timeout)
            used = usage(answer)
            if (value := inside(answer, after)) is not None:
                raise _RefusedError(value)
            return read(answer)
        except _RefusedError as error:
            last, reason = error.fault, str(error)
            if answer is None or not answer.get("usage"):
                used = Usage(0, 0, 0.0)  # what is refused is not billed
            if last.fatal:
                gate.refuse(last)
                raise FailedError(reason, last) from None
            if last.status is not None and last.status not in _AGAIN and last.status < 500:
                raise FailedError(reason, last) from None
            if last.wait is not None:
                wait = last.wait
                if wait > MAX_WAIT:
                    gate.stop(f"the server asks to wait {wait:.0f} s")
                    raise FailedError(f"{reason}; the server asks to wait {wait:.0f} s") from None
                gate.hold(wait)
        except _TransportError as error:
            reason, last = str(error), None
        except _UNUSABLE as error:
            sent = "" if answer is None else f": {shorten(json.dumps(answer), 80)}"
            reason, last = f"unusable answer ({type(error).__name__}: {error}){sent}", None
        finally:
            gate.settle(expected.cost, used)
        if attempt < retries:
            gate.sleep(wait)
    raise FailedError(f"{reason} (tried {retries + 1} times)", last)


class _RefusedError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _TransportError(Exception):
    pass


def _fetch(
    client: Any, body: Mapping[str, Any], timeout: float
) -> tuple[dict[str, Any], float | None]:
    """The answer's JSON, and the seconds that the server asks to wait, if it does.

    It is read in pieces so that neither size nor duration is the server's choice: the client's own
    timeout starts anew with every byte."""
    rest = {k: v for k, v in body.items() if k not in ("model", "messages")}
    try:
        with client.chat.completions.with_streaming_response.create(
            model=body["model"], messages=body["messages"], extra_body=rest
        ) as response:
            data = _bounded(response.iter_bytes(), timeout)
            after = _retry_after(response.headers.get("retry-after"))
    except (_RefusedError, _TransportError):
        raise
    except Exception as error:  # the HTTP library's own kinds: refused, reset, timed out
        # Some versions of the client wrap what `refuse` raises.
        if isinstance(error.__cause__, _RefusedError | _TransportError):
            raise error.__cause__ from None
        # The client calls it a connection error, whatever the operating system said.
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise _TransportError(f"{type(cause).__name__}: {cause}") from None
    try:
        answer = json.loads(data)
    except ValueError:
        raise ValueError(f"no JSON but {shorten(data.decode(errors='replace'), 80)!r}") from None
    if not isinstance(answer, dict):
        raise TypeError("a JSON object is expected")
    return answer, after


def _bounded(pieces: Iterable[bytes], timeout: float) -> bytearray:
    """What a server sends, if it comes to an end in size and in time."""
    deadline, data = time.monotonic() + timeout, bytearray()
    for piece in pieces:
        data += piece
        if len(data) > MAX_BYTES:
            raise _TransportError(f"the answer is longer than {MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise _TransportError(f"no whole answer within {timeout:g} s")
    return data


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait: the header holds a number or a date."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return None if math.isnan(seconds) else max(seconds, 0.0)
