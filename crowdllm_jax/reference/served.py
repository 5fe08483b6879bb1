"""Reference decisions of a language model behind an OpenAI-compatible server."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec

from crowdllm_jax.backbone.prompts import Question
from crowdllm_jax.reference.asked import (
    CACHE,
    Positive,
    PromptConfig,
    Report,
    existing_cache,
    open_cache,
    prompt_and_questions,
    reference_of,
    refuse_gaps,
    shown,
    stage_of,
)
from crowdllm_jax.reference.batch import Asked, ask, estimate
from crowdllm_jax.reference.cache import Scored
from crowdllm_jax.reference.endpoint import Endpoint, rendered
from crowdllm_jax.reference.record import Reference, Spent
from crowdllm_jax.study import Study

NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class EndpointReference(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="endpoint",
    forbid_unknown_fields=True,
):
    """A server that is asked every task; see `endpoint.Endpoint` for what each key does.

    Attributes:
      key_variable: the environment variable that holds the key; the key itself is stored nowhere.
      personas: see `backbone.BackboneReference`; their profiles are sent to the server.
      budget, max_calls: bounds of one command, in USD and in calls.
      cache: SQLite file of answers, relative to where the command runs.
    """

    model: str
    base_url: str = Endpoint.base_url
    key_variable: str = Endpoint.key_variable
    method: Literal["auto", "logprobs", "sample"] = "auto"
    samples: Positive = Endpoint.samples
    temperature: NotNegative = Endpoint.temperature
    max_tokens: Positive = Endpoint.max_tokens
    extra: dict[str, Any] = {}
    concurrency: Positive = Endpoint.concurrency
    timeout: Annotated[float, msgspec.Meta(gt=0)] = Endpoint.timeout
    retries: Annotated[int, msgspec.Meta(ge=0)] = Endpoint.retries
    price_in: NotNegative = Endpoint.price_in
    price_out: NotNegative = Endpoint.price_out
    budget: NotNegative | None = None
    max_calls: Positive | None = None
    prompt: PromptConfig = PromptConfig()
    personas: Positive | None = None
    cache: str = CACHE


def ask_endpoint(
    study: Study, config: EndpointReference, personas: Sequence[Question], progress: Report
) -> tuple[Reference, Scored]:
    """Ask what the cache does not hold, all of it within one budget.

    Returns:
      The reference, and the answers to `personas`.
    Raises:
      CrowdError: the server refuses, the budget is too small, or a task is left without an answer.
    """
    prompt, tasks = prompt_and_questions(study, config.prompt)
    questions = [*tasks, *personas]
    # Settings that do not go together are told before a cache is made.
    endpoint = _endpoint(config)
    with open_cache(config.cache) as cache:
        asked = ask(
            endpoint,
            questions,
            prompt,
            cache=cache,
            progress=stage_of(config.model, progress),
        )
    reason = {p.question: p for p in reversed(asked.problems)}
    first = {text: place for place, text in reversed(list(enumerate(questions)))}

    def why(place: int) -> str:
        # Equal questions are asked once, for the first of them.
        found = reason.get(first[questions[place]])
        return f"{found.kind}: {found.detail}" if found else "no reason is known"

    read, written, cost = asked.used
    spent = Spent(asked.calls, read, written, cost if _priced(config) else None)
    refuse_gaps(study, asked.scored, why, f"{_remedy(asked, config)} (this took {spent})")
    reference = reference_of(study, "endpoint", _part(asked.scored, slice(len(tasks))))
    return replace(reference, spent=spent), _part(asked.scored, slice(len(tasks), None))


def _part(scored: Scored, rows: slice) -> Scored:
    return Scored(scored.probs[rows], scored.mass[rows], scored.mean[rows], None)


def show_endpoint(
    study: Study, config: EndpointReference, personas: Sequence[Question], count: int
) -> str:
    """The first messages as they are sent."""
    prompt, questions = prompt_and_questions(study, config.prompt)
    some = [*questions[:count], *personas[:count]]
    return shown(study, some, [rendered(prompt, q) for q in some])


def plan_endpoint(study: Study, config: EndpointReference, personas: Sequence[Question]) -> str:
    """What it would take at most, retries aside; calls nobody."""
    prompt, tasks = prompt_and_questions(study, config.prompt)
    questions = [*tasks, *personas]
    likely = estimate(_endpoint(config), questions, prompt, cache=existing_cache(config.cache))
    cost = f"{likely.cost:,.4f} USD" if _priced(config) else "unknown: give price_in and price_out"
    return "\n".join(
        [
            f"model     {config.model} at {config.base_url}",
            f"prompts   {likely.questions:,} different; {likely.cached:,} answered in "
            f"{config.cache}",
            f"calls     {likely.calls:,} at most, retries aside",
            f"tokens    {likely.input_tokens:,} in, {likely.output_tokens:,} out at most "
            "(guessed from the texts' lengths)",
            f"cost      {cost}",
        ]
    )


def _endpoint(config: EndpointReference) -> Endpoint:
    fields = msgspec.structs.asdict(config)
    return Endpoint(**{k: v for k, v in fields.items() if k not in ("prompt", "personas", "cache")})


def _priced(config: EndpointReference) -> bool:
    return config.price_in + config.price_out > 0


def _remedy(asked: Asked, config: EndpointReference) -> str:
    if any(p.kind in ("failed", "not asked") for p in asked.problems):
        return (
            f"the other answers are in {config.cache}, so the same command asks only the rest "
            "(with a larger budget or max_calls where these were used up)"
        )
    return (
        "the model's answers are no options: look at the prompts with `crowdllm reference --show`,"
        " then change reference.prompt, method, max_tokens or samples"
    )
