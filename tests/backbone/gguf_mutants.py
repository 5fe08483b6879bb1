"""Run by test_gguf_damage in a process of its own: damaged files end in one message, or load.

Arguments: a GGUF file, how many damaged copies to try, and how much memory above its own the
process may take. Prints how many were refused and how many loaded; any other error ends it.
"""

import random
import resource
import sys
import warnings
from pathlib import Path

import jax.numpy as jnp

from crowdllm_jax.backbone.gguf.config import architecture_of
from crowdllm_jax.backbone.gguf.header import read_header
from crowdllm_jax.backbone.gguf.tokenizer import tokenizer_of
from crowdllm_jax.backbone.weights import load_weights
from crowdllm_jax.errors import CrowdError

HUGE = (0, 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)


def damage(data: bytes, header: int, rng: random.Random) -> bytes:
    """A copy cut short, with bytes changed, or with a count replaced by an absurd one; mostly in
    the header, where lies are told."""
    sort = rng.randrange(4)
    if sort == 0:
        return data[: rng.randrange(header if rng.random() < 0.7 else len(data))]
    copy = bytearray(data)
    if sort == 1:
        at = rng.randrange(4, header - 8)
        copy[at : at + 8] = rng.choice(HUGE).to_bytes(8, "little")
        return bytes(copy)
    if sort == 2:
        begin, end = sorted(rng.randrange(len(data)) for _ in range(2))
        return bytes(copy[:begin] + copy[end:] if end - begin < header else copy[:begin])
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(header if rng.random() < 0.9 else len(data))
        copy[at] ^= 1 << rng.randrange(8)
    return bytes(copy)


def load(path: Path) -> None:
    header = read_header(path)
    tokenizer = tokenizer_of(header)
    a = architecture_of(header)
    load_weights(path, a, jnp.float32)
    tokenizer("How offensive is this?\n- 1\n")
    if tokenizer.chat_template:
        try:
            tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
        except Exception:  # told in one message by the frame that renders it
            raise CrowdError(f"{path}: template") from None


def limit_memory(extra: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + extra, used + extra))


def main(path: Path, count: int, extra: int) -> None:
    warnings.simplefilter("ignore")
    load(path)  # imports and compiles
    data = path.read_bytes()
    header = min(t.offset for t in read_header(path).tensors.values())
    limit_memory(extra)
    mutant, refused, loaded = path.with_name("mutant.gguf"), 0, 0
    for seed in range(count):
        mutant.write_bytes(damage(data, header, random.Random(seed)))
        try:
            load(mutant)
            loaded += 1
        except CrowdError as error:
            if "mutant.gguf" not in str(error) or len(str(error)) > 1000:
                raise AssertionError(f"seed {seed}: not a message of the file's") from error
            refused += 1
        except BaseException as error:
            raise AssertionError(f"seed {seed}") from error
    sys.stdout.write(f"{refused} {loaded}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
