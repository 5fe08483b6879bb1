"""What a user can do when a server refuses, or a model's answers are no options."""

import os
from collections.abc import Sequence

from crowdllm_jax.backbone.endpoint import Endpoint, output_tokens
from crowdllm_jax.backbone.fault import Fault
from crowdllm_jax.backbone.questions import Prompt
from crowdllm_jax.backbone.reading import Said

_FIELDS = ("max_tokens", "temperature", "top_logprobs", "logprobs")
_SHOW = "`crowdllm reference CONFIG --show 1`"


def of_failure(fault: Fault | None, endpoint: Endpoint, prompt: Prompt) -> str:
    """After a question failed; `fault` is what the server said, None without a usable answer."""
    if fault is None:
        return (
            "see whether reference.base_url is right and the server runs (reference.timeout is "
            f"{endpoint.timeout:g} s), and run the same command again"
        )
    if fault.broke:
        return "the account with the provider has no money left: add some there"
    if fault.fatal:
        lacks = "" if os.environ.get(endpoint.key_variable) else ", which is not set"
        return f"check address, model and key (environment variable {endpoint.key_variable}{lacks})"
    words = f"{fault.words} {fault.message}".lower()
    if fault.status == 429:
        return "the server is busy: come back later, or lower reference.concurrency"
    if fault.status is None or fault.status >= 500:
        return "come back later, or ask another model or provider"
    if "system" in words and prompt.system:
        return "set reference.prompt.system to '' and put its text into reference.prompt.user"
    if "context" in words or "too long" in words:
        return "shorten the task's text or the prompt, or take a model with a longer context"
    named = [name for name in _FIELDS if name in words]
    if named:
        return (
            f"reference.extra sets or leaves out what is sent (extra: {{{named[0]}: null}} leaves "
            f"out {named[0]})"
        )
    return f"{_SHOW} shows the messages, and reference.extra sets or leaves out request fields"


def of_answers(unread: Sequence[Said], endpoint: Endpoint, calls: int) -> str:
    """The message after a model's first answers were none of the options."""
    counts: dict[str, int] = {}
    for one in unread:
        counts[str(one)] = counts.get(str(one), 0) + 1
    often = max(counts, key=lambda text: counts[text])
    example = next(one for one in unread if str(one) == often)
    quoted = f"'{often}'" if example.spoken else often
    finish = f" (finish_reason {example.finish})" if example.spoken and example.finish else ""
    return (
        f"reference: {endpoint.model} does not answer with an option: none of its first "
        f"{len(unread)} answers is one; it gave {quoted}{finish}. {_of_answer(example, endpoint)} "
        f"(stopped after {calls} calls)"
    )


def _of_answer(example: Said, endpoint: Endpoint) -> str:
    cap = output_tokens(endpoint, endpoint.max_tokens)
    key = next(
        (f"extra.{k}" for k in ("max_completion_tokens", "max_tokens") if endpoint.extra.get(k)),
        "max_tokens",
    )
    more = f"raise reference.{key} ({cap} tokens; thinking takes hundreds or thousands)"
    if example.thought and not example.spoken:
        return (
            f"The tokens were spent on thinking: {more}, turn thinking off with the field that the "
            "server has for it (reference.extra: {reasoning_effort: none}, or with vLLM and SGLang "
            "{chat_template_kwargs: {enable_thinking: false}}), or take a model that does not think"
        )
    if not example.spoken and example.finish == "length":
        return f"Its tokens were spent before it said anything, as on thinking: {more}"
    if example.finish == "content_filter":
        return "The provider's filter holds them back: take another model or provider"
    if example.finish == "length":
        return (
            f"It was cut off at {cap} tokens: raise reference.{key}, or ask in "
            f"reference.prompt for nothing but an option ({_SHOW} shows what was asked)"
        )
    return (
        f"{_SHOW} shows what was asked: ask in reference.prompt for nothing but one of the "
        "options, or take another model"
    )
