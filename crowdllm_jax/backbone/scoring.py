"""Questions -> probabilities of their options and task embeddings, by one frozen decoder.

All options of a question are scored in one row (see `decoder`). Rows are sorted by length and run
in batches of one fixed shape per length bucket, so that a run compiles a handful of programs
however many tasks it has. Questions that begin alike share that beginning: personas answering one
task share the task, and plain tasks share the instructions in front of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from crowdllm_jax.backbone.answers import Answer, Scored, assemble, warn_low_mass
from crowdllm_jax.backbone.cache import Cache, Key
from crowdllm_jax.backbone.decoder import Decoder, Prefix
from crowdllm_jax.backbone.questions import DEFAULT, Prompt, Question, shorten
from crowdllm_jax.backbone.tokens import Encoded, encode
from crowdllm_jax.backbone.weights import Backbone, Outline
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.precision import float32_products

_SHARED = 32  # tokens of a common beginning that are worth a pass of their own
_PARAMETERS = '{"method": "packed options"}'  # to be changed with what an answer means


class TokenRows(NamedTuple):
    """A batch of B packed rows; numpy, of one fixed shape per length bucket."""

    token: np.ndarray  # (B, S)
    position: np.ndarray  # (B, S)
    segment: np.ndarray  # (B, S), see decoder
    task: np.ndarray  # (B, S) 1 where the task's own text stands
    task_before: np.ndarray  # (B, P) the same within the shared prefix
    read: np.ndarray  # (B, R) places whose logits are read
    source: np.ndarray  # (B, M) for each option token, which of the R predicts it
    target: np.ndarray  # (B, M) the token's id
    member: np.ndarray  # (B, M, K) 1 where the token belongs to the option


def score(
    backbone: Backbone,
    questions: Sequence[Question],
    prompt: Prompt = DEFAULT,
    *,
    batch: int = 32,
    cache: Cache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """What the model answers to each question.

    Args:
        questions: T of them; those with a persona share the work of their common task, and have no
            embedding: it is that of the task, whoever answers.
        batch: rows per forward pass.
        cache: answers are looked up and kept here after every batch, so that an interrupted call
            resumes (with the batch that was under way); without it they live in memory only.
        progress: called with (answered, all), of distinct questions, after every batch.

    Raises:
        CrowdError: a prompt does not fit the model (see `tokens.encode`), is longer than its
            context, or the model's output is not finite.
    """
    encoded, keys = keys_of(backbone, questions, prompt)
    answers = find(backbone, questions, encoded, keys, batch=batch, cache=cache, progress=progress)
    scored = assemble(questions, answers)
    warn_low_mass(questions, scored, backbone.name)
    return scored


def find(
    backbone: Backbone,
    questions: Sequence[Question],
    encoded: Sequence[Encoded],
    keys: Sequence[Key],
    *,
    batch: int,
    cache: Cache | None,
    progress: Callable[[int, int], None] | None,
) -> list[Answer]:
    """The answers to questions whose tokens and keys are known; see `score`."""
    known: dict[Key, Answer] = {}
    distinct = len(set(keys))

    def look_up(wanted: Sequence[Key]) -> None:
        if cache is not None:
            pairs = zip(wanted, cache.get(wanted), strict=True)
            known.update((k, a) for k, a in pairs if a is not None)

    def report() -> None:
        if progress is not None:
            progress(len(known), distinct)

    def take(part: list[int], sent: tuple[jax.Array, jax.Array]) -> None:
        answers = _answers(backbone, sent, [encoded[i] for i in part])
        fresh = [
            (keys[i], replace(a, embedding=None) if questions[i].persona else a)
            for i, a in zip(part, answers, strict=True)
        ]
        known.update(fresh)
        if cache is not None:
            cache.put(fresh)
        report()

    look_up(keys)
    report()
    shape = shape_of(encoded)
    places = {k: i for i, k in reversed(list(enumerate(keys))) if k not in known}
    waiting: tuple[list[int], tuple[jax.Array, jax.Array]] | None = None
    for group in _groups(questions, sorted(places.values())):
        shared = _shared_prefix([encoded[i].prompt for i in group])
        prefix = _prefix(backbone, encoded[group[0]].prompt[:shared]) if shared else None
        group = sorted(group, key=lambda i: len(encoded[i].prompt))
        size = _batch_size(batch, len(group), backbone)
        for begin in range(0, len(group), size):
            part = group[begin : begin + size]
            look_up([keys[i] for i in part])  # another process may have been here meanwhile
            part = [i for i in part if keys[i] not in known]
            if not part:
                continue
            rows = pack([encoded[i] for i in part], shared, shape, size)
            # The device works on these rows while the host takes the answers to those before.
            sent = _send(backbone, rows, prefix)
            if waiting is not None:
                take(*waiting)
            waiting = part, sent
    if waiting is not None:
        take(*waiting)
    return [known[k] for k in keys]


def keys_of(
    model: Outline, questions: Sequence[Question], prompt: Prompt
) -> tuple[list[Encoded], list[Key]]:
    """Each question's tokens and its key in a cache; raises CrowdError as `score` does."""
    encoded = list(encode(model.tokenizer, prompt, questions))
    for question, e in zip(questions, encoded, strict=True):
        if len(e.prompt) + max(map(len, e.options)) > model.architecture.context:
            raise CrowdError(
                f"question {shorten(question.text)!r}: {len(e.prompt)} tokens exceed the model's "
                f"context of {model.architecture.context}; shorten the text or the template"
            )
    keys = [
        Key(model.name, model.revision, e.text, q.text, q.options, _PARAMETERS)
        for q, e in zip(questions, encoded, strict=True)
    ]
    return encoded, keys


# --- grouping ----------------------------------------------------------------------------------


def _groups(questions: Sequence[Question], chosen: Sequence[int]) -> list[list[int]]:
    """Questions that share a prefix: the personas of a task, and all questions without one."""
    groups: dict[str | None, list[int]] = {}
    for i in chosen:
        groups.setdefault(questions[i].text if questions[i].persona else None, []).append(i)
    return list(groups.values())


def _shared_prefix(prompts: Sequence[tuple[int, ...]]) -> int:
    """How many leading tokens all prompts share; 0 where it is not worth a pass of its own. At
    least one token stays outside: the options are read off the last one."""
    first, last = min(prompts), max(prompts)  # all others lie between these two in order
    unequal = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    shared = min(next(unequal, len(first)), min(map(len, prompts)) - 1)
    return shared if shared >= _SHARED and len(prompts) > 1 else 0


def _batch_size(batch: int, wanted: int, backbone: Backbone) -> int:
    """Rows per pass: a power of two for a small group, and a multiple of the data axis."""
    size = min(batch, 1 << (wanted - 1).bit_length())
    split = 1 if backbone.mesh is None else backbone.mesh.shape["data"]
    return -(-size // split) * split


# --- packing -----------------------------------------------------------------------------------


def padded(length: int) -> int:
    """The length to which a row of so many tokens is filled up: few enough to compile a program for
    each, and near enough that little is computed for nothing (8% of texts of 90 tokens)."""
    step = 16 if length <= 256 else 32
    return -(-length // step) * step


def _prefix_size(shared: int) -> int:
    """Places for a shared prefix. It is computed once for many rows, so its padding costs little,
    and every further size costs compiling two programs."""
    return max(_SHARED, 1 << (shared - 1).bit_length()) if shared else 0


def shape_of(encoded: Sequence[Encoded]) -> tuple[int, int, int]:
    """(R, M, K) that hold every question of a run: the run's batches then differ in length only."""
    tokens = max((sum(map(len, e.options)) for e in encoded), default=0)
    reads = max((1 + sum(len(o) - 1 for o in e.options) for e in encoded), default=0)
    return reads, tokens, max((len(e.options) for e in encoded), default=0)


def pack(
    encoded: Sequence[Encoded], shared: int, shape: tuple[int, int, int], size: int
) -> TokenRows:
    """Rows of prompt (without its first `shared` tokens) and options, padded to `size` rows.

    An option's last token is only predicted, never read, so it takes no place in the row.
    """
    R, M, K = shape
    B = size
    longest = max(len(e.prompt) + sum(len(o) - 1 for o in e.options) for e in encoded) - shared
    S, P = padded(longest), _prefix_size(shared)
    token, position = np.zeros((B, S), np.int32), np.zeros((B, S), np.int32)
    segment = np.full((B, S), -1, np.int32)
    task, task_before = np.zeros((B, S), np.float32), np.zeros((B, P), np.float32)
    read = np.zeros((B, R), np.int32)
    source, target = np.zeros((B, M), np.int32), np.zeros((B, M), np.int32)
    member = np.zeros((B, M, K), np.float32)
    for b, e in enumerate(encoded):
        n = len(e.prompt) - shared
        token[b, :n], position[b, :n] = e.prompt[shared:], np.arange(shared, len(e.prompt))
        segment[b, :n] = 0
        begin, end = e.task
        task_before[b, begin : min(end, shared)] = 1
        task[b, max(begin - shared, 0) : max(end - shared, 0)] = 1
        read[b, 0] = n - 1
        place, r, m = n, 1, 0  # next free place in the row, among the reads, among the tokens
        for k, option in enumerate(e.options):
            extra = len(option) - 1
            token[b, place : place + extra] = option[:-1]
            position[b, place : place + extra] = len(e.prompt) + np.arange(extra)
            segment[b, place : place + extra] = k + 1
            read[b, r : r + extra] = np.arange(place, place + extra)
            source[b, m : m + extra + 1] = [0, *range(r, r + extra)]
            target[b, m : m + extra + 1] = option
            member[b, m : m + extra + 1, k] = 1
            place, r, m = place + extra, r + extra, m + extra + 1
    return TokenRows(token, position, segment, task, task_before, read, source, target, member)


# --- running -----------------------------------------------------------------------------------


@partial(jax.jit, static_argnums=0)
@float32_products()
def run_prefix(
    graph: nnx.GraphDef[Any], weights: nnx.State[Any, Any], token_P: jax.Array, used: jax.Array
) -> tuple[jax.Array, Prefix]:
    """A padded prefix's hidden states (P, D) and its shareable keys and values."""
    return nnx.merge(graph, weights).prefix(token_P, used)


@partial(jax.jit, static_argnums=0)
@float32_products()
def run_rows(
    graph: nnx.GraphDef[Any],
    weights: nnx.State[Any, Any],
    rows: TokenRows,
    prefix: tuple[jax.Array, Prefix] | None,
) -> tuple[jax.Array, jax.Array]:
    """Log-probability of each option (B, K) and the sum of the task's hidden states (B, D)."""
    model = nnx.merge(graph, weights)
    shared = None if prefix is None else prefix[1]
    hidden = model(rows.token, rows.position, rows.segment, shared)
    # float32 sums: a long task has more states than bfloat16 has digits.
    summed = partial(jnp.einsum, preferred_element_type=jnp.float32)
    states = summed("bs,bsd->bd", rows.task, hidden.astype(jnp.float32))
    if prefix is not None:
        states += summed("bp,pd->bd", rows.task_before, prefix[0].astype(jnp.float32))
    return option_log_probs(model, hidden, rows), states


def option_log_probs(model: Decoder, hidden: jax.Array, rows: TokenRows) -> jax.Array:
    """Log-probability of each option (B, K) from the rows' final hidden states (B, S, D)."""
    logits = model.logits(jnp.take_along_axis(hidden, rows.read[..., None], axis=1))
    total = jax.nn.logsumexp(logits, axis=-1)  # (B, R)
    row = jnp.arange(rows.token.shape[0])[:, None]
    logp = logits[row, rows.source, rows.target] - total[row, rows.source]
    return jnp.einsum("bm,bmk->bk", logp, rows.member, precision="highest")


def _prefix(backbone: Backbone, tokens: tuple[int, ...]) -> tuple[jax.Array, Prefix]:
    padded = np.zeros(_prefix_size(len(tokens)), np.int32)
    padded[: len(tokens)] = tokens
    return run_prefix(backbone.graph, backbone.weights, padded, np.int32(len(tokens)))


def _send(
    backbone: Backbone, rows: TokenRows, prefix: tuple[jax.Array, Prefix] | None
) -> tuple[jax.Array, jax.Array]:
    if backbone.mesh is not None:
        rows = jax.device_put(rows, NamedSharding(backbone.mesh, PartitionSpec("data")))
    sent: tuple[jax.Array, jax.Array] = run_rows(backbone.graph, backbone.weights, rows, prefix)
    return sent


def _answers(
    backbone: Backbone, sent: tuple[jax.Array, jax.Array], encoded: Sequence[Encoded]
) -> list[Answer]:
    logp, states = map(np.asarray, sent)
    answers = []
    for b, e in enumerate(encoded):
        log_options = logp[b, : len(e.options)].astype(np.float64)
        if not (np.isfinite(log_options).all() and np.isfinite(states[b]).all()):
            raise CrowdError(
                f"{backbone.name}: the model's output is not finite for the prompt "
                f"{shorten(e.text)!r}; load it with dtype float32"
            )
        # Kept apart from the mass, which may underflow.
        likely = np.exp(log_options - log_options.max())
        own = e.task[1] - e.task[0]
        answers.append(
            Answer(
                probs=tuple(likely / likely.sum()),
                mass=float(min(np.exp(log_options).sum(), 1.0)),
                embedding=(states[b] / own).astype(np.float32) if own else None,
            )
        )
    return answers
