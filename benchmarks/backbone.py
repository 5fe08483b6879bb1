"""Scoring questions with our decoder against transformers' torch model, on the same weights.

    python benchmarks/backbone.py [--shape qwen3-1.7b --dtype bfloat16 --compile] [--json FILE]

A random checkpoint is written to a temporary folder and loaded by both. Three jobs:

    plain      questions of 30 to 250 tokens whose 5 options are one token each
    options    the same, with 5 options of 3 tokens each
    personas   64 personas of 25 tokens on one task of 250, 5 options of one token

A fourth, `--only rows`, runs our compiled program by itself, on rows of 256 tokens and on weights
that are made on the device, for shapes too large to be written to a folder in passing; with
`--compile`, beside torch's model of the same shape, as it is and compiled for these rows alone;
with `--quantised`, on weights kept as those of a GGUF file in Q4_K_M are.

and three ways to do each: ours (`scoring.score`, tokenizing included); torch as it is commonly
done (a forward pass per question and option, padded batches in the order given, all logits); and
torch with care (sorted by length, only the logits that are read, the personas' common task
computed once). torch may be compiled. The answers are checked to be equal before anything
is timed; then the three take turns, and medians are printed with the ratio to ours. The ceiling is
the machine's own matrix product, measured in the same turns; a token costs two operations per
weight outside the embeddings.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from ceilings import matmul
from flax import nnx
from tokenizers import Tokenizer, models, pre_tokenizers

from crowdllm_jax.backbone.architecture import read_architecture
from crowdllm_jax.backbone.decoder import Decoder, Packed
from crowdllm_jax.backbone.gguf.packing import TYPES
from crowdllm_jax.backbone.packed import bytes_of, joint
from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.backbone.scoring import pack, run_rows, score, shape_of
from crowdllm_jax.backbone.tokens import Encoded, encode
from crowdllm_jax.backbone.weights import Backbone, load
from crowdllm_jax.errors import CrowdWarning

SHAPES = {
    "llama-75m": lambda: transformers.LlamaConfig(
        vocab_size=32_000,
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=14,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=2048,
    ),
    "llama-3.1-8b": lambda: transformers.LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
    ),
    "qwen3-1.7b": lambda: transformers.Qwen3Config(
        vocab_size=151_936,
        hidden_size=2048,
        intermediate_size=6144,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
    ),
}
JOBS = ("plain", "options", "personas")
ROW = 256
"""Tokens of a row of the job `rows`."""
_FINER = joint([TYPES["Q4_K"].packing, TYPES["Q6_K"].packing])
Q4_K_M: Packed = (
    *((name, TYPES["Q4_K"].packing) for name in ("q", "k", "o", "gate", "up")),
    *((name, _FINER) for name in ("v", "down")),  # half of the layers have them in Q6_K
)
WORDS = 30_000
PROMPT = Prompt(user="{task} {persona}", persona="{persona}", option="{option}", cue=" w0")
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.3}  # of a log-probability over 3 tokens


def random_model(shape: str, dtype: torch.dtype) -> Any:
    """Random weights, with the attention that is fastest in torch."""
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return transformers.AutoModelForCausalLM.from_config(
            SHAPES[shape](), dtype=dtype, attn_implementation="sdpa"
        ).eval()


def make_checkpoint(folder: Path, shape: str, dtype: torch.dtype) -> torch.nn.Module:
    """Random weights in a Hugging Face folder, with one token per word."""
    model = random_model(shape, dtype)
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    return model


def make_questions(job: str, rows: int) -> list[Question]:
    rng = np.random.default_rng(0)
    text = lambda n: " ".join(f"w{i}" for i in rng.integers(1, WORDS, n))  # noqa: E731
    options = tuple(text(3 if job == "options" else 1) for _ in range(5))
    values = (1.0, 2.0, 3.0, 4.0, 5.0)
    if job == "personas":
        task = text(250)
        return [Question(task, options, values, text(25)) for _ in range(rows)]
    lengths = rng.lognormal(4.3, 0.6, rows).clip(30, 250).astype(int)
    return [Question(text(n), options, values) for n in lengths]


def batches(items: list, size: int) -> Iterator[list]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


@torch.inference_mode()
def torch_common(model: torch.nn.Module, encoded: list[Encoded], batch: int) -> np.ndarray:
    """(T, K) log-probabilities: one padded row per question and option, all logits.

    Where an option is one token, a row serves all options of its question.
    """
    where = next(model.parameters()).device
    single = all(len(o) == 1 for e in encoded for o in e.options)
    rows = [(e.prompt, e.options, 1) for e in encoded]
    if not single:
        rows = [(e.prompt + o, (o,), len(o)) for e in encoded for o in e.options]
    out = []
    for part in batches(rows, batch):
        longest = max(len(tokens) for tokens, _, _ in part)
        ids = torch.zeros(len(part), longest, dtype=torch.long)
        mask = torch.zeros(len(part), longest, dtype=torch.long)
        for i, (tokens, _, _) in enumerate(part):
            ids[i, : len(tokens)], mask[i, : len(tokens)] = torch.tensor(tokens), 1
        logits = model(ids.to(where), attention_mask=mask.to(where)).logits
        for i, (tokens, options, extra) in enumerate(part):
            begin = len(tokens) - 1 if single else len(tokens) - extra - 1
            logp = logits[i, begin : begin + extra].float().log_softmax(-1)
            for option in options:
                place = torch.arange(len(option), device=where)
                out.append(logp[place, torch.tensor(option, device=where)].sum())
    return torch.stack(out).reshape(len(encoded), -1).cpu().numpy()


@torch.inference_mode()
def torch_careful(model: torch.nn.Module, encoded: list[Encoded], batch: int) -> np.ndarray:
    """The same by someone who knows transformers: sorted, padded on the left so that the last
    logits are the ones read, and a task that all rows share run once."""
    where = next(model.parameters()).device
    shared = 0
    if len({e.prompt[:64] for e in encoded}) == 1:
        unlike = (
            len(set(tokens)) > 1 for tokens in zip(*(e.prompt for e in encoded), strict=False)
        )
        shared = list(unlike).index(True)
        ids = torch.tensor([encoded[0].prompt[:shared]], device=where)
        cache = model(ids, use_cache=True, logits_to_keep=1).past_key_values
    single = all(len(o) == 1 for e in encoded for o in e.options)
    rows = [(t, e.prompt, e.options) for t, e in enumerate(encoded)]
    if not single:
        rows = [(t, p + o[:-1], (o,)) for t, p, options in rows for o in options]
    found: list[list[torch.Tensor]] = [[] for _ in encoded]
    for part in batches(sorted(rows, key=lambda row: len(row[1])), batch):
        longest = max(len(tokens) for _, tokens, _ in part) - shared
        ids = torch.zeros(len(part), longest, dtype=torch.long)
        mask = torch.zeros(len(part), shared + longest, dtype=torch.long)
        mask[:, :shared] = 1
        for i, (_, tokens, _) in enumerate(part):
            n = len(tokens) - shared
            ids[i, longest - n :], mask[i, shared + longest - n :] = (
                torch.tensor(tokens[shared:]),
                1,
            )
        position = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]
        past = None
        if shared:
            past = transformers.DynamicCache()
            for layer, kv in enumerate(cache.layers):
                wide = (len(part), -1, -1, -1)
                past.update(kv.keys.expand(wide), kv.values.expand(wide), layer)
        keep = 1 if single else len(part[0][2][0])
        logits = (
            model(
                ids.to(where),
                attention_mask=mask.to(where),
                position_ids=position.to(where),
                past_key_values=past,
                use_cache=shared > 0,
                logits_to_keep=keep,
            )
            .logits.float()
            .log_softmax(-1)
        )
        for i, (t, _, options) in enumerate(part):
            for option in options:
                place = torch.arange(len(option), device=where)
                found[t].append(logits[i, place, torch.tensor(option, device=where)].sum())
    return torch.stack([torch.stack(f) for f in found]).cpu().numpy()


def ours(backbone: Backbone, questions: list[Question], batch: int) -> np.ndarray:
    return score(backbone, questions, PROMPT, batch=batch).probs


def check_equal(backbone: Backbone, model: torch.nn.Module, job: str, dtype: str) -> None:
    """All three ways answer a few questions alike, up to the rounding of the weights' type."""
    few = make_questions(job, 6)
    encoded = list(encode(backbone.tokenizer, PROMPT, few))
    own = np.log(ours(backbone, few, 4))
    for rival in (torch_common, torch_careful):
        logp = rival(model, encoded, 4)
        logp = logp - np.log(np.exp(logp - logp.max(1, keepdims=True)).sum(1, keepdims=True))
        logp -= logp.max(1, keepdims=True)
        gap = np.abs(logp - (own - own.max(1, keepdims=True))).max()
        if not gap < TOLERANCE[dtype]:
            raise SystemExit(f"{job}: {rival.__name__} differs from ours by {gap:.2g}")


Job = tuple[dict[str, Callable[[], object]], int, int]
"""The ways to do a job, how many questions it has, and how many tokens."""


def make_job(backbone: Backbone, model: Any, job: str, rows: int, batch: int) -> Job:
    questions = make_questions(job, rows)
    encoded = list(encode(backbone.tokenizer, PROMPT, questions))
    tokens = sum(len(e.prompt) + sum(len(o) - 1 for o in e.options) for e in encoded)
    ways = {
        "ours": lambda: ours(backbone, questions, batch),
        "torch, common": lambda: torch_common(model, encoded, batch),
        "torch, careful": lambda: torch_careful(model, encoded, batch),
    }
    return ways, len(questions), tokens


def take_turns(
    ways: dict[str, Callable[[], object]], ceiling: Callable[[], float], repeats: int
) -> tuple[dict[str, list[float]], float]:
    """Seconds of each way, and the median rate of a matrix product measured between them."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    rates = []
    for work in ways.values():
        work()  # compiles
    for _ in range(repeats):
        for name, work in ways.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
        rates.append(ceiling())
    return seconds, statistics.median(rates)


def count_weights(model: Any) -> tuple[int, int]:
    """All weights, and those without the embeddings on both ends."""
    embedding = model.get_input_embeddings().weight.numel()
    weights = sum(p.numel() for p in model.parameters())
    return weights, weights - embedding * (1 if model.config.tie_word_embeddings else 2)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama-75m")
    parser.add_argument("--dtype", choices=TOLERANCE, default="float32")
    parser.add_argument("--only", nargs="+", choices=(*JOBS, "rows"), default=JOBS)
    parser.add_argument("--rows", type=int, default=64, help="questions or personas per job")
    parser.add_argument("--batch", type=int, default=16, help="rows per forward pass, for all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="torch.compile the rival")
    parser.add_argument("--quantised", action="store_true", help="rows: weights as in Q4_K_M")
    parser.add_argument("--json", type=Path, help="write the records here")
    return parser.parse_args()


Note = Callable[[str, str, dict[str, tuple[float, str]]], None]


def against_torch(args: argparse.Namespace, note: Note) -> None:
    """The jobs that both do, from one folder."""
    with tempfile.TemporaryDirectory() as folder:
        model = make_checkpoint(Path(folder), args.shape, getattr(torch, args.dtype))
        backbone = load(folder, dtype=args.dtype)
    if args.compile:
        model = torch.compile(model, dynamic=True)
    weights, inner = count_weights(model)
    print(
        f"{args.shape} ({weights / 1e6:.0f}M weights), {args.dtype}; "
        f"ours on {jax.devices()[0].device_kind}, torch {torch.__version__} on "
        f"{next(model.parameters()).device.type}{' compiled' * args.compile}"
    )
    ceiling = matmul(args.dtype)
    for job in args.only:
        check_equal(backbone, model, job, args.dtype)
        ways, questions, tokens = make_job(backbone, model, job, args.rows, args.batch)
        seconds, rate = take_turns(ways, ceiling, args.repeats)
        median = {name: statistics.median(times) for name, times in seconds.items()}
        for name, value in median.items():
            pairs = zip(seconds["ours"], seconds[name], strict=True)
            ratio, speed = statistics.median(b / a for a, b in pairs), questions / value
            print(f"{job:9} {name:15} {speed:9.2f} prompts/s   ours is {ratio:5.2f}x", flush=True)
            note(job, name, {"prompts": (speed, "1/s"), "time relative to ours": (ratio, "x")})
        if job == "plain":
            share = 2 * inner * tokens / median["ours"] / rate
            tell_rate(note, job, tokens / median["ours"], share, rate)


def tell_rate(note: Note, job: str, tokens: float, share: float, rate: float) -> None:
    print(
        f"{job:9} ours: {tokens:.0f} tokens/s, {share:.0%} of the measured matmul ceiling of "
        f"{rate / 1e9:.0f} GFLOP/s"
    )
    note(
        job,
        "ours",
        {
            "tokens": (tokens, "1/s"),
            "share of the matmul ceiling": (share, "1"),
            "matmul ceiling": (rate, "FLOP/s"),
        },
    )


def our_rows(args: argparse.Namespace) -> tuple[Callable[[], object], int]:
    """Our program on full rows, and the weights that a token is multiplied by."""
    batch, architecture = args.batch, read_architecture(SHAPES[args.shape]().to_dict())
    dtype = jnp.dtype(args.dtype)
    dense = nnx.state(nnx.eval_shape(partial(Decoder, architecture, dtype)))
    packed = Q4_K_M if args.quantised else ()
    graph, shapes = nnx.split(nnx.eval_shape(partial(Decoder, architecture, dtype, None, packed)))

    def fill(s: jax.ShapeDtypeStruct) -> jax.Array:
        key = jax.random.key(0)
        if jnp.issubdtype(s.dtype, jnp.integer):
            return jax.random.randint(key, s.shape, 0, 100, s.dtype)
        small = 1e-5 if s.dtype == jnp.float16 else 0.02  # of codes up to 15 x scales up to 100
        return small * jax.random.normal(key, s.shape, s.dtype)

    weights = jax.jit(lambda: jax.tree.map(fill, shapes))()
    print(f"rows ours: {bytes_of(shapes) / 2**30:.2f} GiB of weights")
    many = Encoded("", tuple(range(ROW)), (0, ROW), tuple((k,) for k in range(5)))
    rows = pack([many] * batch, 0, shape_of([many]), batch)
    embedding = architecture.vocab * architecture.width * (1 if architecture.tied else 2)
    inner = sum(leaf.size for leaf in jax.tree.leaves(dense)) - embedding
    return lambda: jax.block_until_ready(run_rows(graph, weights, rows, None)), inner


def torch_rows(args: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """torch's on the same rows: the last logits, of which those of five options are read."""
    where = "cuda" if torch.cuda.is_available() else "cpu"
    model = random_model(args.shape, getattr(torch, args.dtype))
    ids = torch.arange(ROW, device=where).repeat(args.batch, 1)

    @torch.inference_mode()
    def run(forward: Callable[..., Any]) -> object:
        logits = forward(ids, use_cache=False, logits_to_keep=1).logits
        return logits[:, -1].float().log_softmax(-1)[:, :5].cpu()

    compiled = torch.compile(model)
    return {"torch": lambda: run(model), "torch, compiled": lambda: run(compiled)}


def rows_alone(args: argparse.Namespace, note: Note) -> None:
    own, inner = our_rows(args)
    ways = {"ours": own, **(torch_rows(args) if args.compile else {})}
    seconds, rate = take_turns(ways, matmul(args.dtype), args.repeats)
    tokens = args.batch * ROW
    median = {name: statistics.median(times) for name, times in seconds.items()}
    for name in list(ways)[1:]:
        pairs = zip(seconds["ours"], seconds[name], strict=True)
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"rows {name:15} {tokens / median[name]:9.0f} tokens/s   ours is {ratio:5.2f}x")
        found = {"tokens": (tokens / median[name], "1/s"), "time relative to ours": (ratio, "x")}
        note("rows", name, found)
    speed = tokens / median["ours"]
    tell_rate(note, "rows", speed, 2 * inner * speed / rate, rate)
    memory = jax.devices()[0].memory_stats()  # None on a CPU
    if memory:
        peak = memory["peak_bytes_in_use"]
        print(f"rows ours: {peak / 2**30:.1f} GiB of the device's memory at most")
        note("rows", "ours", {"peak memory": (peak, "bytes")})


def main() -> None:
    args = arguments()
    warnings.simplefilter("ignore", CrowdWarning)  # random weights like no option
    records: list[dict[str, object]] = []
    weights = "Q4_K_M" if args.quantised else args.dtype

    def note(job: str, variant: str, values: dict[str, tuple[float, str]]) -> None:
        cuda = torch.cuda.is_available() and variant != "ours"
        for metric, (value, unit) in values.items():
            records.append(
                {
                    "benchmark": f"backbone {args.shape} {weights} {job}",
                    "variant": variant,
                    "metric": metric,
                    "value": value,
                    "unit": unit,
                    "device": "cuda" if cuda else jax.devices()[0].device_kind,
                }
            )

    if "rows" in args.only and len(args.only) > 1:
        raise SystemExit("--only rows: stands alone")
    if args.quantised and args.only != ["rows"]:
        raise SystemExit("--quantised: with --only rows")
    if "rows" in args.only:
        rows_alone(args, note)
    else:
        against_torch(args, note)
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main()
