"""Reference decisions of a language model that runs here, in JAX."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zlib import crc32

import msgspec
import numpy as np

from crowdllm_jax.backbone.answers import Answer, Scored, assemble, warn_low_mass
from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.backbone.tune.config import TuneConfig
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
    shown,
    stage_of,
)
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.progress import Progress, stage
from crowdllm_jax.study.records import Study

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from crowdllm_jax.backbone.decoder import Packed
    from crowdllm_jax.backbone.weights import Backbone, Outline

PART = 4096
"""Questions whose tokens are in memory at once, or all personas of one task if these are more."""


class MeshConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many devices share the rows of a forward pass, and how many the weights of the model."""

    data: Positive = 1
    model: Positive = 1


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
      model: a Hugging Face folder or GGUF file (relative to where the command runs), or hub id
        "org/name".
      revision: branch, tag or commit of a hub id.
      dtype: of the weights; logits are float32 either way. auto: float32 on a CPU, bfloat16 on
        accelerators.
      weights: quantised leaves the matrices of a GGUF file so on the device; dense ones take more
        memory, and a layer's need not be made from them each time.
      orders: 2 also asks every task with its options the other way round, and averages the two.
      calibration: divides the options' probabilities by those without content in the task's place;
        see `reference.calibration`.
      personas: how many of the population's first agents answer the held-out tasks as the model
        sees them, for the baseline that asks a language model as everybody; None for no such
        baseline.
      batch: tasks per forward pass.
      tune: answer the tasks with adapters that `crowdllm tune` has made of people's answers; None
        asks the model as it is. Personas are answered by the model as it is.
      mesh: data x model devices to use, where one is not enough.
      cache: SQLite file of answers, relative to where the command runs.
    """

    model: str
    revision: str | None = None
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    weights: Literal["dense", "quantised"] = "dense"
    prompt: PromptConfig = PromptConfig()
    orders: Orders = 1
    calibration: Calibration = "none"
    personas: Positive | None = None
    batch: Positive = 32
    tune: TuneConfig | None = None
    mesh: MeshConfig = MeshConfig()
    cache: str = CACHE


# The modules that load JAX models and tokenizers are imported in the functions: a configuration
# of another kind, or `--help`, does not wait for them.


def ask_backbone(
    study: Study, config: BackboneReference, personas: Sequence[Question], progress: Progress
) -> tuple[Reference, Scored]:
    """Score what the cache does not hold; the weights are loaded only if something is missing.

    Returns:
      The reference, and the answers to `personas`.
    Raises:
      CrowdError: there is no such model, it is not supported, or a task does not fit it.
    """
    prompt, questions = prompt_and_questions(study, config.prompt, config.orders)

    def ask(questions: Sequence[Question], name: str) -> Scored:
        asked = with_blanks(questions, config.calibration)
        scored = _ask(config, prompt, asked, stage_of(name, progress), progress)
        warn_low_mass(asked, scored, name)
        return calibrated(asked, scored)

    reference = reference_of(study, "backbone", ask(questions, config.model))
    return reference, ask(personas, f"{config.model} as personas")


def ask_share(
    study: Study, config: BackboneReference, personas: Sequence[Question], progress: Progress
) -> None:
    """Score this process's share of what the cache does not hold, for all to find there."""
    prompt, questions = prompt_and_questions(study, config.prompt, config.orders)
    for every in (with_blanks(part, config.calibration) for part in (questions, personas)):
        # By text: the personas of a task stay together, for they share its computation.
        share = [q for q in every if crc32(q.text.encode()) % processes.size() == processes.rank()]
        _ask(config, prompt, share, stage_of(config.model, progress), progress)


def ask_with(
    config: BackboneReference,
    prompt: Prompt,
    questions: Sequence[Question],
    adapters: Path,
    progress: Progress,
) -> Scored:
    """Score what the cache does not hold, with the adapters of a folder merged into the weights."""
    name = f"{config.model}, tuned"
    scored = _ask(config, prompt, questions, stage_of(name, progress), progress, adapters)
    warn_low_mass(questions, scored, f"{name} ({adapters.name})")
    return scored


def states_of(study: Study, config: BackboneReference, progress: Progress) -> np.ndarray | None:
    """(T, D) the tasks' embedding by the model as it is, whatever it would answer."""
    prompt, questions = prompt_and_questions(study, config.prompt, config.orders)
    scored = _ask(config, prompt, questions, stage_of(config.model, progress), progress)
    return reference_of(study, "backbone", scored).embedding


def load_backbone(
    config: BackboneReference, progress: Progress, together: bool = False
) -> "Backbone":
    """The model on its devices; `together` on those of all processes, which share a batch."""
    from crowdllm_jax.backbone import weights

    model = weights.outline(config.model, revision=config.revision, dtype=config.dtype)
    mesh = mesh_of(config.mesh, model)
    if together and processes.size() > 1:
        mesh = _mesh_of_all(config.mesh)
    name = f"load {Path(config.model).name} in {weights.chosen_dtype(config.dtype)}"
    with stage(progress, name):
        # Large weights take minutes, and a hub's are fetched first.
        return weights.load(
            config.model,
            revision=config.revision,
            dtype=config.dtype,
            mesh=mesh,
            quantised=config.weights == "quantised",
        )


def _ask(
    config: BackboneReference,
    prompt: Prompt,
    questions: Sequence[Question],
    report: Callable[[int, int], None],
    progress: Progress,
    adapters: Path | None = None,
) -> Scored:
    from crowdllm_jax.backbone import scoring, weights
    from crowdllm_jax.backbone.tune import adapter, peft

    if not questions:
        return assemble([], [])
    model = weights.outline(config.model, revision=config.revision, dtype=config.dtype)
    tuned = None if adapters is None else peft.read_adapter(adapters)
    if tuned is not None:
        model = replace(model, revision=f"{model.revision}+{tuned.digest}")
    mesh_of(config.mesh, model)  # tells of what does not fit before any work
    _packings(config, model)
    parts = ((part, *scoring.keys_of(model, part, prompt)) for part in _parts(questions))
    first = next(parts)  # tasks that do not fit are told before a cache is made
    backbone = None
    answers: list[Answer | None] = []
    with open_cache(config.cache) as cache:
        for part, encoded, keys in chain([first], parts):
            kept = cache.get(keys)
            if None in kept:
                if backbone is None:
                    backbone = load_backbone(config, progress)
                    if tuned is not None:
                        backbone = adapter.merge(backbone, tuned.lora, tuned.arrays)

                def part_of(done: int, total: int, before: int = len(answers)) -> None:
                    report(before + done * len(part) // total, len(questions))  # noqa: B023

                kept = list(
                    scoring.find(
                        backbone,
                        part,
                        encoded,
                        keys,
                        batch=config.batch,
                        cache=cache,
                        progress=part_of,
                    )
                )
            answers += kept
    return assemble(questions, answers)


def _parts(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    """Consecutive questions, thousands at a time; the personas of a task stay together, for they
    share its computation."""
    begin = 0
    for i in range(1, len(questions)):
        if i - begin >= PART and questions[i].text != questions[i - 1].text:
            yield questions[begin:i]
            begin = i
    yield questions[begin:]


def mesh_of(config: MeshConfig, model: "Outline") -> "Mesh | None":
    """The devices to lay the model out on; None for the first one alone.

    Raises:
      CrowdError: there are fewer devices, or they do not divide the model.
    """
    import jax
    from jax.sharding import AxisType

    shape, a = (config.data, config.model), model.architecture
    if a.heads % config.model or a.inner % config.model:
        raise CrowdError(
            f"reference.mesh.model: {config.model} devices do not divide the {a.heads} heads and "
            f"{a.inner} inner features of {model.name}; choose a number that divides both"
        )
    devices, wanted = jax.local_devices(), config.data * config.model
    if wanted > len(devices):
        raise CrowdError(
            f"reference.mesh: {config.data} x {config.model} devices are asked for, and JAX sees "
            f"{len(devices)} ({devices[0].device_kind}); ask for fewer"
        )
    if wanted == 1:
        return None
    kinds = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh(shape, ("data", "model"), axis_types=kinds, devices=devices[:wanted])


def _mesh_of_all(config: MeshConfig) -> "Mesh":
    """The devices of every process: each shares a batch's rows with the others, and the weights,
    as before, among its own."""
    import jax
    from jax.sharding import AxisType, Mesh

    each = config.data * config.model
    devices = [
        [d for d in jax.devices() if d.process_index == process][:each]
        for process in range(processes.size())
    ]
    shape = (processes.size() * config.data, config.model)
    kinds = (AxisType.Auto, AxisType.Auto)
    return Mesh(np.array(devices).reshape(shape), ("data", "model"), axis_types=kinds)


def _packings(config: BackboneReference, model: "Outline") -> "Packed":
    from crowdllm_jax.backbone import weights
    from crowdllm_jax.backbone.hub import locate

    if config.weights == "dense":
        return ()
    place, _ = locate(config.model, config.revision, weights=False)
    return weights.packings(place, model.architecture)


def show_backbone(
    study: Study, config: BackboneReference, personas: Sequence[Question], count: int
) -> str:
    """The first prompts as the model sees them; its tokenizer alone is loaded."""
    from crowdllm_jax.backbone.hub import load_tokenizer, locate
    from crowdllm_jax.backbone.tokens import encode

    prompt, questions = prompt_and_questions(study, config.prompt, config.orders)
    blanks = with_blanks(questions, config.calibration)[len(questions) :]
    first_few = [*questions[:count], *personas[:count], *blanks[:count]]
    tokenizer = load_tokenizer(locate(config.model, config.revision, weights=False)[0])
    return shown(study, first_few, [e.text for e in encode(tokenizer, prompt, first_few)])


def plan_backbone(study: Study, config: BackboneReference, personas: Sequence[Question]) -> str:
    """How much there is to score."""
    from crowdllm_jax.backbone import scoring, weights

    prompt, questions = prompt_and_questions(study, config.prompt, config.orders)
    model = weights.outline(config.model, revision=config.revision, dtype=config.dtype)
    cache = existing_cache(config.cache)
    distinct: set[str] = set()
    known = left = tokens = longest = 0
    for part in _parts(with_blanks([*questions, *personas], config.calibration)):
        encoded, keys = scoring.keys_of(model, part, prompt)
        answers = cache.get(keys) if cache else [None] * len(keys)
        for e, key, answer in zip(encoded, keys, answers, strict=True):
            if key.digest in distinct:
                continue
            distinct.add(key.digest)
            length = len(e.prompt) + sum(map(len, e.options))
            longest = max(longest, length)
            if answer is None:
                left, tokens = left + 1, tokens + length
            else:
                known += 1
    size = weights.device_bytes(model.architecture, config.dtype, _packings(config, model))
    return "\n".join(
        [
            f"model     {model.name} ({model.architecture.family}, "
            f"{weights.chosen_dtype(config.dtype)})",
            f"weights   {config.weights}, {size / 1e6:,.1f} MB on the device"
            f"{'s together' if config.mesh != MeshConfig() else ''}",
            f"prompts   {len(distinct):,} different; {known:,} answered in {config.cache}, "
            f"{left:,} to score",
            f"tokens    {tokens:,} to score, prompts and options; longest {longest:,} of a "
            f"context of {model.architecture.context:,}",
        ]
    )
