"""Reference decisions of a language model that runs here, in JAX."""

from typing import Literal

import msgspec

from crowdllm_jax.reference.asked import (
    CACHE,
    Positive,
    PromptConfig,
    Report,
    existing_cache,
    open_cache,
    prompt_and_questions,
    reference_of,
    shown,
    stage_of,
)
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.study import Study


class BackboneReference(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="backbone",
    forbid_unknown_fields=True,
):
    """A causal language model that scores every option of every task.

    Attributes:
      model: a Hugging Face folder (relative to where the command runs) or hub id "org/name".
      revision: branch, tag or commit of a hub id.
      dtype: of the weights; logits are float32 either way.
      batch: tasks per forward pass.
      cache: SQLite file of answers, relative to where the command runs.
    """

    model: str
    revision: str | None = None
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    prompt: PromptConfig = PromptConfig()
    batch: Positive = 32
    cache: str = CACHE


# The modules that load JAX models and tokenizers are imported in the functions: a configuration
# of another kind, or `--help`, does not wait for them.


def ask_backbone(study: Study, config: BackboneReference, progress: Report) -> Reference:
    """Score what the cache does not hold; the weights are loaded only if something is missing.

    Raises:
      CrowdError: there is no such model, it is not supported, or a task does not fit it.
    """
    from crowdllm_jax.backbone import checkpoint, scoring

    prompt, questions = prompt_and_questions(study, config.prompt)
    model = checkpoint.outline(config.model, revision=config.revision, dtype=config.dtype)
    # Tasks that do not fit are told before a cache is made.
    scoring.keys_of(model, questions, prompt)
    with open_cache(config.cache) as cache:
        scored = scoring.recall(model, questions, prompt, cache)
        if scored is None:
            backbone = checkpoint.load(config.model, revision=config.revision, dtype=config.dtype)
            scored = scoring.score(
                backbone,
                questions,
                prompt,
                batch=config.batch,
                cache=cache,
                progress=stage_of(config.model, progress),
            )
    return reference_of(study, "backbone", scored)


def show_backbone(study: Study, config: BackboneReference, count: int) -> str:
    """The first tasks' prompts as the model sees them; its tokenizer alone is loaded."""
    from crowdllm_jax.backbone.checkpoint import load_tokenizer, locate
    from crowdllm_jax.backbone.prompts import encode

    prompt, questions = prompt_and_questions(study, config.prompt)
    tokenizer = load_tokenizer(locate(config.model, config.revision, weights=False)[0])
    encoded = encode(tokenizer, prompt, questions[:count])
    return shown(study, questions, [e.text for e in encoded])


def plan_backbone(study: Study, config: BackboneReference) -> str:
    """How much there is to score."""
    from crowdllm_jax.backbone import checkpoint, scoring

    prompt, questions = prompt_and_questions(study, config.prompt)
    model = checkpoint.outline(config.model, revision=config.revision, dtype=config.dtype)
    encoded, keys = scoring.keys_of(model, questions, prompt)
    lengths = {
        key: len(e.prompt) + sum(map(len, e.options)) for key, e in zip(keys, encoded, strict=True)
    }
    distinct = list(lengths)
    cache = existing_cache(config.cache)
    answers = cache.get(distinct) if cache else [None] * len(distinct)
    left = [lengths[key] for key, a in zip(distinct, answers, strict=True) if a is None]
    return "\n".join(
        [
            f"model     {model.name} ({model.architecture.family}, {config.dtype})",
            f"prompts   {len(distinct):,} different; {len(distinct) - len(left):,} answered in "
            f"{config.cache}, {len(left):,} to score",
            f"tokens    {sum(left):,} to score, prompts and options; longest "
            f"{max(lengths.values()):,} of a context of {model.architecture.context:,}",
        ]
    )
