"""What a model that is left early answers: the head's shares of the options."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import numpy as np

from crowdllm_jax.backbone.answers import Answer
from crowdllm_jax.backbone.tokens import Encoded
from crowdllm_jax.backbone.tune.adapter import form_of, lower_layers
from crowdllm_jax.backbone.tune.examples import Batches, Example, until_task
from crowdllm_jax.backbone.tune.loss import log_shares
from crowdllm_jax.backbone.tune.peft import Adapter
from crowdllm_jax.backbone.weights import Backbone
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.precision import float32_products

_log_shares = partial(jax.jit, static_argnums=0)(float32_products()(log_shares))


def early_answers(
    backbone: Backbone,
    adapter: Adapter,
    encoded: Sequence[Encoded],
    scale: np.ndarray,
    rows: int,
    report: Callable[[int, int], None],
) -> list[Answer]:
    """The answers to questions on some scales (their places among the head's), `rows` at a time.

    All the probability is the options': a head has no other words.
    """
    lower = lower_layers(backbone, adapter.layers)
    form = form_of(lower, adapter.lora)
    nothing = [(np.zeros(len(e.options)), np.zeros(len(e.options) - 1)) for e in encoded]
    batches = Batches(
        [
            until_task(Example(e, shares, 1.0, steps, int(s)))
            for e, s, (shares, steps) in zip(encoded, scale, nothing, strict=True)
        ],
        rows,
    )
    answers: dict[int, Answer] = {}
    for places in batches.order():
        batch = batches.batch(places)
        logs = np.asarray(
            _log_shares(
                form, lower.weights, adapter.arrays, batch.rows, batch.scale, batch.offered
            ),
            dtype=np.float64,
        )
        for row, place in enumerate(places):
            probs = np.exp(logs[row, : len(encoded[place].options)])
            if not np.isfinite(probs).all():
                raise CrowdError(
                    f"{backbone.name}: the model's output is not finite; load it with dtype float32"
                )
            answers[int(place)] = Answer(tuple(probs / probs.sum()), 1.0)
        report(len(answers), len(encoded))
    return [answers[i] for i in range(len(encoded))]
