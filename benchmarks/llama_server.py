"""The endpoint against llama.cpp's server, with the GGUF file that the backbone runs itself.

    pip install xllamacpp
    python benchmarks/llama_server.py MODEL.gguf [--server-python PYTHON] [--samples 50]

Starts llama.cpp's server (of the package xllamacpp, in its own process) on MODEL.gguf, asks it the
same questions by log-probabilities and by sampling, and compares the answers with those that the
backbone computes here in float32: total variation between the options' shares, by question. Sampled
shares differ by chance; what is to be expected of exact answers is printed beside them.
"""

import argparse
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from crowdllm_jax.backbone.calls import Asked, ask
from crowdllm_jax.backbone.endpoint import Endpoint
from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.backbone.scoring import score
from crowdllm_jax.backbone.weights import load
from crowdllm_jax.errors import CrowdError, CrowdWarning

SERVER = """
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.port, p.n_ctx, p.n_parallel = sys.argv[1], 0, 4096, 2
p.cpuparams.n_threads = 2
server = xllamacpp.Server(p)
print("LISTENING", server.listening_address, flush=True)
sys.stdin.read()
"""
PROMPT = Prompt(
    user="{task}\n\nAnswer with exactly one of these options and nothing else:\n{options}",
    option="{option}",
)
TEXTS = (
    "How good a place to swim is a lake in summer?",
    "How dangerous is it to cross a street without looking?",
    "How useful is a map in a town that one does not know?",
    "How boring is it to wait for a bus?",
    "How hard is it to learn to play the violin?",
    "How healthy is it to sleep three hours a night?",
)
NUMBERS = ("1", "2", "3", "4", "5")
WORDS = ("Never", "Sometimes", "Often", "Always")


def questions() -> list[Question]:
    by_number = [Question(t, NUMBERS, (1, 2, 3, 4, 5)) for t in TEXTS]
    return by_number + [Question(t.replace("How", "When"), WORDS, (0, 1, 2, 3)) for t in TEXTS[:3]]


@contextmanager
def serving(python: str, model: str) -> Iterator[str]:
    """The base URL of llama.cpp's server while it runs."""
    with subprocess.Popen(
        [python, "-c", SERVER, model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    ) as process:
        assert process.stdout is not None
        try:
            line = next((x for x in process.stdout if x.startswith("LISTENING")), "")
            if not line:
                raise SystemExit(f"{python}: the server did not start; is xllamacpp installed?")
            address = line.split(maxsplit=1)[1].strip()
            yield (address if address.startswith("http") else f"http://{address}") + "/v1"
        finally:
            process.kill()


def by_chance(p: np.ndarray, samples: int) -> float:
    """The average total variation between shares and those of so many independent draws."""
    return float(np.sqrt(2 * p * (1 - p) / (np.pi * samples)).sum() / 2)


def compare(name: str, ours: np.ndarray, asked: Asked, samples: int = 0) -> None:
    theirs = asked.scored.probs
    known = np.isfinite(theirs).all(1)
    gap = np.abs(ours - theirs)[known].sum(1) / 2
    chance = [by_chance(p, samples) for p in ours[known]] if samples else [0.0]
    print(
        f"{name:18} {known.sum()} of {len(known)} answered; total variation: mean "
        f"{gap.mean():.3f}, most {gap.max():.3f} (by chance {np.mean(chance):.3f}); {asked.how}"
    )
    for problem in asked.problems:
        print("   ", problem)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--server-python", default=sys.executable)
    parser.add_argument("--samples", type=int, default=50)
    args = parser.parse_args()
    warnings.simplefilter("ignore", CrowdWarning)
    os.environ.setdefault("OPENAI_API_KEY", "none")
    backbone = load(args.model, dtype="float32")
    every = questions()
    here = score(backbone, every, PROMPT)
    print(f"backbone: mass of the options {here.mass.min():.2f} to {here.mass.max():.2f}")
    with serving(args.server_python, args.model) as url:
        for method in ("logprobs", "sample"):
            endpoint = Endpoint(
                "gguf", url, method=method, samples=args.samples, timeout=300.0, concurrency=2
            )
            try:
                asked = ask(endpoint, every, PROMPT)
            except CrowdError as error:
                print(f"{method}: {error}")
                continue
            compare(method, here.probs, asked, args.samples if method == "sample" else 0)
        # A model that thinks, or is cut off: what the user is told.
        short = Endpoint("gguf", url, method="sample", max_tokens=1, samples=3, timeout=300.0)
        long = Prompt(user="{task} Think aloud in <think></think> before you answer.\n{options}")
        for prompt in (long,):
            try:
                print("cut off:", ask(short, every[6:], prompt).problems[:1])
            except CrowdError as error:
                print("cut off:", error)


if __name__ == "__main__":
    main()
