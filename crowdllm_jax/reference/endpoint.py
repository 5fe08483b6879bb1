"""Reference decisions of a language model behind an OpenAI-compatible server."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from crowdllm_jax.backbone.answers import Scored
from crowdllm_jax.backbone.calls import Asked, ask, estimates
from crowdllm_jax.backbone.endpoint import Endpoint, rendered
from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.backbone.remedy import of_failure
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.calibration import Calibration, calibrated, with_blanks
from crowdllm_jax.reference.questions import (
    CACHE,
    Orders,
    Positive,
    PromptConfig,
    existing_cache,
    open_cache,
    prompt_and_questions,
    reference_of,
    refuse_gaps,
    shown,
    stage_of,
)
from crowdllm_jax.reference.record import Reference, Spent
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.study.records import Study

NotNegative = Annotated[float, msgspec.Meta(ge=0)]
OWN = ("prompt", "orders", "calibration", "personas", "cache")
"""Keys that do not concern the server."""


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
      orders, calibration, personas: see `backbone.BackboneReference`; personas' profiles go to
        the server.
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
    orders: Orders = 1
    calibration: Calibration = "none"
    personas: Positive | None = None
    cache: str = CACHE


def ask_endpoint(
    study: Study, config: EndpointReference, personas: Sequence[Question], progress: Progress
) -> tuple[Reference, Scored]:
    """Ask what the cache does not hold, all of it within one budget.

    Returns:
      The reference, and the answers to `personas`.
    Raises:
      CrowdError: the server refuses, the budget is too small, or a task is left without an answer.
    """
    prompt, tasks = prompt_and_questions(study, config.prompt, config.orders)
    questions = with_blanks([*tasks, *personas], config.calibration)
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
        reason_of = reason.get(first[questions[place]])
        return f"{reason_of.kind}: {reason_of.detail}" if reason_of else "no reason is known"

    read, written, cost = asked.used
    spent = Spent(asked.calls, read, written, cost if _priced(config) else None, asked.how)
    remedy = _remedy(asked, questions, endpoint, prompt)
    kept = f"; the other answers are in {config.cache}, so the same command asks only the rest"
    kept = kept if np.isfinite(asked.scored.mean).any() else ""
    refuse_gaps(study, questions, asked.scored, why, f"{remedy}{kept} (this took {spent})")
    scored = calibrated(questions, asked.scored)
    reference = reference_of(study, "endpoint", _part(scored, slice(len(tasks))))
    return replace(reference, spent=spent), _part(scored, slice(len(tasks), None))


def _part(scored: Scored, rows: slice) -> Scored:
    return Scored(scored.probs[rows], scored.mass[rows], scored.mean[rows], None)


def show_endpoint(
    study: Study, config: EndpointReference, personas: Sequence[Question], count: int
) -> str:
    """The first messages as they are sent."""
    prompt, questions = prompt_and_questions(study, config.prompt, config.orders)
    blanks = with_blanks(questions, config.calibration)[len(questions) :]
    first_few = [*questions[:count], *personas[:count], *blanks[:count]]
    return shown(study, first_few, [rendered(prompt, q) for q in first_few])


def plan_endpoint(study: Study, config: EndpointReference, personas: Sequence[Question]) -> str:
    """What it would take at most, retries aside; calls nobody."""
    prompt, tasks = prompt_and_questions(study, config.prompt, config.orders)
    questions = with_blanks([*tasks, *personas], config.calibration)
    plans = estimates(_endpoint(config), questions, prompt, cache=existing_cache(config.cache))
    most = max(plans.values(), key=lambda plan: plan.calls)
    cost = f"{most.cost:,.4f} USD" if _priced(config) else "unknown: give price_in and price_out"
    lines = [
        f"model     {config.model} at {config.base_url}",
        f"prompts   {most.questions:,} different; {most.cached:,} answered in {config.cache}",
        f"calls     {most.calls:,} at most, retries and refusals aside",
        f"tokens    {most.input_tokens:,} in, {most.output_tokens:,} out at most "
        "(guessed from the texts' lengths)",
        f"cost      {cost}",
    ]
    if len(plans) > 1:
        least = plans["logprobs"]
        priced = f" and {least.cost:,.4f} USD" if _priced(config) else ""
        lines.append(f"          only {least.calls:,} calls{priced} if log-probabilities serve")
    return "\n".join(lines)


def _endpoint(config: EndpointReference) -> Endpoint:
    if config.calibration != "none" and config.method != "logprobs":
        raise CrowdError(
            f"reference.calibration: {config.calibration} divides by probabilities, and counted "
            "samples can be none; set reference.method to logprobs, or leave calibration out"
        )
    fields = msgspec.structs.asdict(config)
    return Endpoint(**{k: v for k, v in fields.items() if k not in OWN})


def _priced(config: EndpointReference) -> bool:
    return config.price_in + config.price_out > 0


def _remedy(asked: Asked, questions: Sequence[Question], endpoint: Endpoint, prompt: Prompt) -> str:
    """What helps the first question without an answer."""
    gaps = np.flatnonzero(np.isnan(asked.scored.mean))
    if not len(gaps):
        return ""
    first = questions.index(questions[gaps[0]])
    problem = next(p for p in asked.problems if p.question == first)
    failed = [p for p in asked.problems if p.kind == "failed"]
    if problem.kind == "unparsed":
        return (
            "the model's answers are no options: look at the prompts with "
            "`crowdllm reference --show`, then change reference.prompt, method, max_tokens or "
            "samples"
        )
    if problem.kind == "not asked" and problem.detail.startswith(("max_calls", "the budget")):
        key = "max_calls" if problem.detail.startswith("max_calls") else "budget"
        return f"give a larger reference.{key}"
    if "asks to wait" in problem.detail:
        return "come back then"
    return of_failure((failed or [problem])[0].fault, endpoint, prompt)
