"""A tuning that is over in seconds, also for processes that need neither torch nor PEFT."""

import numpy as np
from msgspec import structs

from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.backbone.tokens import encode
from crowdllm_jax.backbone.tune import train
from crowdllm_jax.backbone.tune.config import TuneConfig
from crowdllm_jax.backbone.tune.examples import Example
from crowdllm_jax.backbone.weights import load

PROMPT = Prompt(user="{task}\nOptions :\n{options}")
SOME = [
    ("How offensive is this comment ?", ("1", "2", "3"), (0.5, 0.3, 0.2), 3.0, 0),
    ("The new park costs 1250 euros a year .", ("not at all", "not"), (0.9, 0.1), 1.0, 1),
    ("You are all fools ! " * 3, ("1", "2", "3"), (0.0, 0.0, 1.0), 2.0, 0),
]


def examples_of(backbone, some=SOME):
    questions = [Question(text, options, tuple(range(len(options)))) for text, options, *_ in some]
    encoded = encode(backbone.tokenizer, PROMPT, questions)
    return [
        Example(e, np.array(p), weight, np.full(len(p) - 1, 1 / (len(p) - 1)), scale)
        for e, (_, _, p, weight, scale) in zip(encoded, some, strict=True)
    ]


CONFIG = TuneConfig(rank=2, batch=4, epochs=3, patience=3, learning_rate=0.02, targets=("q", "up"))
SHORT = structs.replace(CONFIG, epochs=1)


def many(backbone, count=22):
    """Comments of many lengths, whose shares follow from how often they say fools."""
    some = [
        ("You are all fools ! " * (1 + i % 5), ("1", "2", "3"), np.eye(3)[i % 5 % 3], 1.0, 0)
        for i in range(count)
    ]
    return examples_of(backbone, some)


def tuned(folder, checkpoints, report=lambda *_: None, mesh=None, config=CONFIG):
    backbone = load(folder, dtype="float32", mesh=mesh)
    examples = many(backbone)
    train_part, held = examples[:18], examples[18:]
    return train.tune(backbone, train_part, held, config, checkpoints, (0,), (3,), report)
