"""What packing, length buckets and the shared prefix save, on random weights.

    python benchmarks/backbone.py [--width 256 --layers 8 --vocab 8192] [--dtype bfloat16]

Prints milliseconds per question (median of the repeats, compiled before) for each way to score the
same questions. Only ratios on one machine mean anything. 128 questions of 30 to 250 tokens with 5
options of 2 tokens; 128 personas of 25 tokens behind a task of 250.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crowdllm_jax.backbone import scoring
from crowdllm_jax.backbone.architecture import Architecture, Rope
from crowdllm_jax.backbone.checkpoint import Backbone
from crowdllm_jax.backbone.decoder import Decoder
from crowdllm_jax.backbone.prompts import Encoded

BATCH, OPTIONS, OPTION_TOKENS = 16, 5, 2


def random_backbone(width: int, layers: int, vocab: int, dtype: str) -> Backbone:
    a = Architecture(
        family="llama",
        vocab=vocab,
        width=width,
        inner=3 * width,
        heads=width // 32,
        kv_heads=width // 64,
        head_dim=32,
        eps=1e-5,
        activation="silu",
        query_scale=32**-0.5,
        windows=(None,) * layers,
        ropes=(Rope(1e4),) * layers,
        tied=True,
        context=4096,
    )
    graph, shapes = nnx.split(nnx.eval_shape(partial(Decoder, a, jnp.dtype(dtype))))
    leaves, tree = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    random = [
        0.05 * jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)
    ]
    return Backbone("random", "0", a, None, graph, jax.tree.unflatten(tree, random))


def random_questions(lengths: np.ndarray, vocab: int, shared: int = 0) -> list[Encoded]:
    rng = np.random.default_rng(0)
    prefix = rng.integers(vocab, size=shared)
    draw = lambda n: tuple(int(t) for t in rng.integers(vocab, size=n))  # noqa: E731
    return [
        Encoded(
            text="",
            prompt=(*map(int, prefix), *draw(n)),
            task=(0, 10),
            options=tuple(draw(OPTION_TOKENS) for _ in range(OPTIONS)),
        )
        for n in lengths
    ]


def run(backbone: Backbone, questions: list[Encoded], shared: int = 0, bucket: int = 32) -> None:
    """The loop of `scoring.score`, on tokens."""
    scoring._BUCKET = bucket
    shape = scoring._shape(questions)
    prefix = scoring._prefix(backbone, questions[0].prompt[:shared]) if shared else None
    questions = sorted(questions, key=lambda e: len(e.prompt))
    for begin in range(0, len(questions), BATCH):
        part = questions[begin : begin + BATCH]
        scoring._answers(backbone, scoring._pack(part, shared, shape, BATCH), prefix, part)


def milliseconds(work: Callable[[], None], questions: int, repeats: int) -> float:
    work()  # compiles
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times)) / questions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    backbone = random_backbone(args.width, args.layers, args.vocab, args.dtype)

    lengths = np.random.default_rng(1).lognormal(4.3, 0.6, 128).clip(30, 250).astype(int)
    tasks = random_questions(lengths, args.vocab)
    single = [replace(q, options=(o,)) for q in tasks for o in q.options]
    longest = int(max(lengths)) + OPTIONS * (OPTION_TOKENS - 1)
    personas = random_questions(np.full(128, 25), args.vocab, shared=250)
    ways = {
        "packed options, length buckets": lambda: run(backbone, tasks),
        "one row per option": lambda: run(backbone, single),
        "padded to the longest": lambda: run(backbone, tasks, bucket=longest),
        "personas, shared prefix": lambda: run(backbone, personas, shared=250),
        "personas, whole prompts": lambda: run(backbone, personas),
    }
    print(f"{jax.devices()[0].device_kind}, {args.dtype}, {args.layers} x {args.width}")
    for name, work in ways.items():
        print(f"{milliseconds(work, 128, args.repeats):8.2f} ms/question  {name}", flush=True)


if __name__ == "__main__":
    main()
