"""What a server takes of a request, learnt from its refusals."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from crowdllm_jax.backbone.fault import Fault

TOP = 20  # as many alternatives of a token as the API gives
_LOWER = (10, 5, 2)  # limits that servers have, to be tried where the refusal names none
_REFUSED = (400, 422, 501)  # how servers refuse a field, or what stands in it
_NONE = re.compile(
    r"not (support|allow|permit|enable|availab|recogni)|unsupported|unknown|"
    r"unrecogni|extra (input|field|param)|disabled|unavailable",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Terms:
    """How a request is put to one server.

    Attributes:
        top: so many alternatives of a token are asked for.
        renamed: max_tokens goes by the name max_completion_tokens.
        plain: the temperature is left out, where it is the API's default anyway.
    """

    top: int = TOP
    renamed: bool = False
    plain: bool = False

    def put(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Request fields as this server takes them."""
        merged = dict(fields)
        if "top_logprobs" in merged:
            merged["top_logprobs"] = self.top
        if self.renamed and "max_tokens" in merged:
            merged["max_completion_tokens"] = merged.pop("max_tokens")
        if self.plain and merged.get("temperature") == 1.0:
            del merged["temperature"]
        return merged

    def __str__(self) -> str:
        """What differs from the usual, for people; nothing if nothing does."""
        changes = []
        if self.renamed:
            changes.append("max_completion_tokens in place of max_tokens")
        if self.plain:
            changes.append("no temperature")
        return " and ".join(changes)


def refuses(fault: Fault | None) -> bool:
    """Whether it is the request that the server does not take, whoever asks and when."""
    return fault is not None and fault.status in _REFUSED and not fault.fatal


def adapted(terms: Terms, fault: Fault | None, sent: Mapping[str, Any]) -> Terms | None:
    """Terms that may suit the server better, after it refused a request with the fields `sent`;
    None if there are none. Every step asks for less, so that they come to an end."""
    if fault is None or not refuses(fault):
        return None
    words = f"{fault.words} {fault.message}"
    if "max_completion_tokens" in words and "max_tokens" in sent:
        return replace(terms, renamed=True)
    if "temperature" in words and sent.get("temperature") == 1.0:
        return replace(terms, plain=True)
    if "top_logprobs" not in sent:
        return None
    top = _named(fault.message, sent["top_logprobs"])
    if top is None and not _NONE.search(fault.message):
        top = next((n for n in _LOWER if n < sent["top_logprobs"]), None)
    return None if top is None else replace(terms, top=top)


def _named(message: str, asked: int) -> int | None:
    """The limit that a refusal of log-probabilities names: the largest number below what was
    asked for."""
    if "logprob" not in message.lower():
        return None
    numbers = [int(n) for n in re.findall(r"(?<![\w.-])\d{1,4}(?!\w|\.\d)", message)]
    numbers += [int(n) - 1 for n in re.findall(r"(?:than|below) (\d{1,4})\b", message)]
    return max((n for n in numbers if 1 <= n < asked), default=None)
