"""A step of tuning a language model on people's answers, against torch with PEFT.

    python benchmarks/tuning.py [--rows 8 --length 128] [--json FILE]

A random checkpoint (the shapes of `backbone.py`) gets the same adapters on both sides: rank 8
beside all seven matrices of a layer. A step is the loss of `crowdllm_jax.backbone.tune` on one
batch of questions of the same length with five options of a token each (divergence, and distance on
the scale), its gradient, the clipping and Adam. Four ways to do it:

    ours         `train_step` as `crowdllm tune` runs it: each layer is computed anew for the
                 backward pass, so that only its input is kept
    ours, kept   with `recompute: false`, which keeps everything that a layer makes
    torch, anew  PEFT with `gradient_checkpointing_enable`, which computes anew
    torch, kept  PEFT without

torch reads the logits of the last token only, and there is no padding for either. The losses of the
first steps are checked to be equal before anything is timed; then they take turns, and medians
are printed with the ratio to ours. The ceiling is the machine's own matrix product, measured in the
same turns; a token costs four operations per weight of a layer, those computed anew left out.
"""

import argparse
import copy
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # PEFT would look the base model up

import jax
import numpy as np
import peft
import torch
import transformers
from backbone import PROMPT, SHAPES, WORDS, count_weights, make_checkpoint, take_turns
from ceilings import matmul

from crowdllm_jax.backbone.decoder import Lora
from crowdllm_jax.backbone.questions import Question
from crowdllm_jax.backbone.tokens import Encoded, encode
from crowdllm_jax.backbone.tune.adapter import form_of, start
from crowdllm_jax.backbone.tune.config import TuneConfig
from crowdllm_jax.backbone.tune.examples import Batches, Example
from crowdllm_jax.backbone.tune.peft import write_adapter
from crowdllm_jax.backbone.tune.train import State, optimiser, train_step
from crowdllm_jax.backbone.weights import Backbone, load

CONFIG = TuneConfig()
LORA = Lora(CONFIG.rank, CONFIG.alpha, CONFIG.targets)
WARMUP = 20  # steps until the learning rate is reached, as in `train`
TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}  # relative, of a loss: three steps of Adam


class Job(NamedTuple):
    """B questions of one length, and people's shares (B, 5) of their options."""

    encoded: list[Encoded]
    shares: np.ndarray


def make_job(backbone: Backbone, rows: int, length: int) -> Job:
    rng = np.random.default_rng(0)
    text = lambda n: " ".join(f"w{i}" for i in rng.integers(1, WORDS, n))  # noqa: E731
    options = tuple(f"w{i}" for i in rng.choice(np.arange(1, WORDS), 5, replace=False))
    values = (1.0, 2.0, 3.0, 4.0, 5.0)
    questions = [Question(text(length - 1), options, values) for _ in range(rows)]
    encoded = list(encode(backbone.tokenizer, PROMPT, questions))
    assert {len(e.prompt) for e in encoded} == {length}
    return Job(encoded, rng.dirichlet(np.ones(5), rows))


class Ours:
    """Our step, and the adapters it began with."""

    def __init__(self, backbone: Backbone, job: Job, *, anew: bool) -> None:
        steps = np.full(4, 0.25)
        examples = [
            Example(e, p, 1.0, steps, 0) for e, p in zip(job.encoded, job.shares, strict=True)
        ]
        self.form, self.base = form_of(backbone, LORA, anew), backbone.weights
        self.first = start(self.form, (0,), None)
        begun = State(
            np.int32(0),
            self.first,
            optimiser(CONFIG).init(self.first),
            {name: array.copy() for name, array in self.first.items()},
            np.float32(np.inf),
            np.int32(0),
        )
        where = jax.local_devices()[0]
        self.state, self.batch = jax.device_put(
            (begun, Batches(examples, len(examples)).batch(np.arange(len(examples)))), where
        )

    def step(self) -> float:
        self.state, loss = train_step(self.form, CONFIG, self.base, self.state, self.batch)
        return float(loss)


class Torch:
    """PEFT's model with our adapters, and the same step."""

    def __init__(self, model: torch.nn.Module, adapters: Path, job: Job, *, anew: bool) -> None:
        device = next(model.parameters()).device
        self.model = peft.PeftModel.from_pretrained(model, adapters, is_trainable=True).train()
        if anew:
            self.model.enable_input_require_grads()
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.tuned = [p for p in self.model.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(self.tuned, CONFIG.learning_rate, fused=True)
        rate = lambda step: min(1.0, (1 + 19 * step / WARMUP) / 20)  # noqa: E731
        self.rate = torch.optim.lr_scheduler.LambdaLR(self.adam, rate)
        self.ids = torch.tensor([e.prompt for e in job.encoded], device=device)
        self.options = torch.tensor([[o[0] for o in e.options] for e in job.encoded], device=device)
        self.shares = torch.tensor(job.shares, dtype=torch.float32, device=device)

    def step(self) -> float:
        self.adam.zero_grad()
        logits = self.model(self.ids, use_cache=False, logits_to_keep=1).logits[:, -1].float()
        logq = logits.log_softmax(-1).gather(1, self.options).log_softmax(-1)
        divergence = (torch.special.xlogy(self.shares, self.shares) - self.shares * logq).sum(1)
        gap = (self.shares - logq.exp()).cumsum(1)[:, :-1]
        loss = (divergence + CONFIG.ordinal * (gap**2 * 0.25).sum(1)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.tuned, 1.0)
        self.adam.step()
        self.rate.step()
        return loss.item()


def check_equal(ways: dict[str, Callable[[], float]], tolerance: float, steps: int = 3) -> None:
    """The first steps' losses; later ones depend on the steps before."""
    for number in range(steps):
        losses = {name: work() for name, work in ways.items()}
        for name, loss in losses.items():
            if not abs(loss - losses["ours"]) <= tolerance * losses["ours"]:
                raise SystemExit(f"{name}: loss {loss} in step {number + 1}, ours {losses['ours']}")


def contestants(
    shape: str, rows: int, length: int, dtype: str = "float32"
) -> tuple[dict[str, Callable[[], float]], int]:
    """A step of each, by name, and the weights of the layers."""
    with tempfile.TemporaryDirectory() as folder:
        model: Any = make_checkpoint(Path(folder) / "model", shape, getattr(torch, dtype))
        backbone = load(str(Path(folder) / "model"), dtype=dtype)
        job = make_job(backbone, rows, length)
        ours, ours_kept = (Ours(backbone, job, anew=anew) for anew in (True, False))
        adapters = Path(folder) / "adapters"
        adapters.mkdir()
        write_adapter(adapters, str(Path(folder) / "model"), LORA, ours.first)
        inner = count_weights(model)[1]
        anew = Torch(copy.deepcopy(model), adapters, job, anew=True)
        kept = Torch(model, adapters, job, anew=False)
    ways = {
        "ours": ours.step,
        "ours, kept": ours_kept.step,
        "torch, anew": anew.step,
        "torch, kept": kept.step,
    }
    return ways, inner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama-75m")
    parser.add_argument("--dtype", choices=TOLERANCE, default="float32", help="of frozen weights")
    parser.add_argument("--rows", type=int, default=8, help="questions of a step")
    parser.add_argument("--length", type=int, default=128, help="tokens of a question")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    ways, inner = contestants(args.shape, args.rows, args.length, args.dtype)
    device = jax.devices()[0].device_kind
    check_equal(ways, TOLERANCE[args.dtype])
    seconds, rate = take_turns(ways, matmul(args.dtype), args.repeats)
    name = f"tuning {args.shape} {args.dtype}, {args.rows} x {args.length}"
    records: list[dict[str, object]] = []

    def note(variant: str, metric: str, value: float, unit: str) -> None:
        where = "cuda" if variant.startswith("torch") and torch.cuda.is_available() else device
        record = {"benchmark": name, "variant": variant, "metric": metric}
        records.append(record | {"value": value, "unit": unit, "device": where})

    for variant, times in seconds.items():
        median = statistics.median(times)
        ratio = statistics.median(b / a for a, b in zip(seconds["ours"], times, strict=True))
        share = 4 * inner * args.rows * args.length / median / rate
        print(
            f"{variant:12} {median:7.3f} s a step, {ratio:5.2f}x ours, "
            f"{share:.0%} of the matrix product ({rate / 1e9:.0f} GFLOP/s)"
        )
        note(variant, "step", median, "s")
        note(variant, "time relative to ours", ratio, "x")
        note(variant, "share of the matmul ceiling", share, "1")
    note("ours", "matmul ceiling", rate, "FLOP/s")
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main()
