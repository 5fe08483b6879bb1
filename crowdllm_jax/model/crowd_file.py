"""A fitted crowd on disk: saved, loaded, and known by its fingerprint."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from flax import nnx

from crowdllm_jax.errors import CrowdError, named_errors
from crowdllm_jax.model.crowd import Crowd, CvaeInputs, Inputs, ModelConfig, check_crowd
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.decision import Cvae
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.effects import TaskColumns
from crowdllm_jax.model.persistent.fit import new_persistent
from crowdllm_jax.model.persistent.layout import layout_of
from crowdllm_jax.model.persistent.witness import Standard, Unwitnessed
from crowdllm_jax.profiles.generator import ProfileGenerator
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.checkpoints import digest, flatten, load_arrays, save_arrays, unflatten
from crowdllm_jax.runtime.given import as_path
from crowdllm_jax.study.coding import Coding
from crowdllm_jax.study.records import Attribute, AttributeKind
from crowdllm_jax.study.scales import Scale

FORMAT = 1

AGAIN = "delete this crowd's folder and fit again (`crowdllm fit`, or the same `crowdllm run`)"
"""What to do where a crowd cannot be read."""


class _AttributeMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    kind: AttributeKind
    levels: tuple[str, ...]


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What `crowd.json` holds; the numbers are in the arrays beside it. What is as it was before
    an entry existed has none."""

    format: int
    config: ModelConfig
    task_ids: tuple[str, ...]
    scales: dict[str, Scale]
    codings: tuple[Coding, ...]
    generator: str
    smoothing: float
    effective: float
    profile: tuple[_AttributeMeta, ...]
    witnesses: tuple[str, ...] = ()
    ask_if: dict[str, str] = {}
    sha256: str = ""


def arrays_of(crowd: Crowd) -> dict[str, np.ndarray]:
    """Every number of a crowd, by name."""
    g = crowd.generator
    if isinstance(crowd.inputs, Design):
        tasks, groups = crowd.inputs.tasks, crowd.inputs.groups
        inputs = {
            f"tasks.{name}": part for name, part in tasks._asdict().items() if part is not None
        }
        inputs |= {f"group.{name}": group for name, group in groups.items()}
        inputs["centre"] = crowd.inputs.centre
        if (witnesses := crowd.inputs.witnesses) is not None:
            inputs |= {"witness.mean": witnesses.mean, "witness.sd": witnesses.sd}
        if (own := crowd.inputs.unwitnessed) is not None:
            inputs |= {f"unwitnessed.{name}": part for name, part in own._asdict().items()}
    else:
        inputs = crowd.inputs._asdict()
    return {
        **inputs,
        "task_scale": crowd.task_scale,
        "profile.weight": g.weight,
        **{f"profile.cells.{i}": a.cells for i, a in enumerate(g.attributes)},
        **{f"profile.values.{i}": value for i, value in enumerate(g.values)},
        **{f"profile.shares.{i}": share for i, share in enumerate(g.shares)},
        **{f"weights.{name}": leaf for name, leaf in flatten(crowd.params).items()},
    }


def crowd_fingerprint(crowd: Crowd) -> str:
    """sha256 of all that a crowd's agents depend on, besides the seed."""
    return _seal(msgspec.to_builtins(_meta(crowd)), arrays_of(crowd))


def _seal(entries: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """sha256 of what `crowd.json` says (besides the seal itself) and of the arrays."""
    text = json.dumps({**entries, "sha256": ""}, sort_keys=True)
    return hashlib.sha256(text.encode() + digest(arrays).tobytes()).hexdigest()


def _meta(crowd: Crowd) -> _Meta:
    g = crowd.generator
    standard = crowd.inputs.witnesses if isinstance(crowd.inputs, Design) else None
    return _Meta(
        FORMAT,
        crowd.config,
        crowd.task_ids,
        crowd.scales,
        crowd.codings,
        g.generator,
        g.smoothing,
        g.effective,
        tuple(_AttributeMeta(a.name, a.kind, a.levels) for a in g.attributes),
        standard.names if standard is not None else (),
        dict(crowd.ask_if),
    )


def save_crowd(crowd: Crowd, folder: str | Path) -> None:
    """Write a crowd into a new folder: `crowd.json` and a folder `arrays` (`runtime/checkpoints`);
    of several processes that work together all call it, and the first writes.

    Raises:
      CrowdError: the folder (or a file of its name) is there already.

    Examples:
      >>> cl.save_crowd(crowd, "kept")
      >>> cl.load_crowd("kept").task_ids == crowd.task_ids
      True
    """
    check_crowd(crowd)
    folder = as_path(folder, "save_crowd: give the path of a folder")
    if processes.rank() == 0:
        with named_errors(folder, "cannot be made", NotADirectoryError, PermissionError):
            if folder.exists():
                raise CrowdError(f"{folder}: is there already; nothing was written. Name a new one")
            folder.mkdir(parents=True)
    processes.meet("a crowd's folder")
    save_arrays(folder / "arrays", arrays_of(crowd))
    meta = msgspec.structs.replace(_meta(crowd), sha256=crowd_fingerprint(crowd))
    if processes.rank() == 0:
        (folder / "crowd.json").write_bytes(msgspec.json.format(msgspec.json.encode(meta)))


def load_crowd(folder: str | Path) -> Crowd:
    """Read a crowd that `save_crowd` wrote, or a run: `runs/NAME/seed-0/MODEL/crowd`.

    Returns:
      The crowd as it was fitted; the study is not needed to sample from it.
    Raises:
      CrowdError: the folder holds no crowd, or a damaged one.

    Examples:
      >>> cl.save_crowd(crowd, "saved")
      >>> again = cl.load_crowd("saved")
      >>> bool((cl.sample(again, 10, seed=1).answers == agents.answers[:10]).all())
      True
    """
    folder = as_path(folder, "load_crowd: give the path of a folder")
    path = folder / "crowd.json"
    if not path.is_file():
        below = folder / "crowd"
        remedy = f"give {below}" if (below / path.name).is_file() else "run `crowdllm fit`"
        if (folder / "arrays").is_dir():
            remedy = AGAIN  # which a fit would take for a finished one
        raise CrowdError(f"{folder}: holds no fitted crowd (no crowd.json); {remedy}")
    try:
        # As they stand there: a newer version's entries have more defaults.
        entries = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        meta = msgspec.convert(entries, _Meta)
    except msgspec.MsgspecError as error:
        raise CrowdError(f"{path}: cannot be read ({error}); {AGAIN}") from error
    if meta.format != FORMAT:
        raise CrowdError(f"{path}: has format {meta.format}, this version reads {FORMAT}; {AGAIN}")
    arrays = load_arrays(folder / "arrays", remedy=AGAIN)
    if _seal(entries, arrays) != meta.sha256:
        raise CrowdError(f"{folder}: is damaged (its sha256 is not that of crowd.json); {AGAIN}")
    try:
        generator = _generator(meta, arrays)
        task_scale = arrays["task_scale"]
        graph, like, inputs = _network(meta, arrays)
    except KeyError as error:
        raise CrowdError(f"{folder}: the array {error} is missing; {AGAIN}") from error
    weights = {n.removeprefix("weights."): a for n, a in arrays.items() if n.startswith("weights.")}
    if isinstance(meta.config, PersistentConfig):
        weights = _of_earlier(meta.config, len(meta.scales)) | weights
    params = unflatten(weights, like, folder)
    return Crowd(
        meta.config,
        graph,
        params,
        meta.task_ids,
        meta.scales,
        task_scale,
        inputs,
        meta.codings,
        generator,
        ask_if=meta.ask_if,
    )


def _of_earlier(config: PersistentConfig, scales: int) -> dict[str, np.ndarray]:
    """What the weights of earlier versions lack: before they were centred, beliefs stood where
    their noise put them, and effects were parts of the range of continuous scales, around its
    middle."""
    middle, none = np.zeros(config.dimensions, np.float32), np.zeros(scales, np.float32)
    return {
        "belief.middle.value": middle,
        "belief.mean.value": np.append(middle, np.float32(0)),
        "log_unit.value": none,
        "middle.value": none,
    }


def _generator(meta: _Meta, arrays: dict[str, np.ndarray]) -> ProfileGenerator:
    attributes = tuple(
        Attribute(a.name, a.kind, a.levels, arrays[f"profile.cells.{i}"])
        for i, a in enumerate(meta.profile)
    )
    return ProfileGenerator(
        meta.generator,
        meta.smoothing,
        attributes,
        arrays["profile.weight"],
        tuple(arrays[f"profile.values.{i}"] for i in range(len(attributes))),
        tuple(arrays[f"profile.shares.{i}"] for i in range(len(attributes))),
        meta.effective,
    )


def _network(
    meta: _Meta, arrays: dict[str, np.ndarray]
) -> tuple[nnx.GraphDef[Any], nnx.State[Any, Any], Inputs]:
    """The network's structure, the shapes of its weights, and its inputs."""
    match meta.config:
        case PersistentConfig() as persistent:
            # A crowd of an earlier version answers all tasks alike, known or not.
            everything = np.ones(len(meta.task_ids), np.float32)
            fields = {"tasks.known": everything} | arrays
            design = Design(
                layout_of(meta.scales, arrays["task_scale"]),
                _task_columns(fields),
                {n.removeprefix("group."): a for n, a in arrays.items() if n.startswith("group.")},
                arrays["centre"],
                *_witnesses(meta, arrays),
            )
            shapes = nnx.eval_shape(lambda: new_persistent(design, persistent, 0))
            return *nnx.split(shapes, nnx.Param), design
        case CvaeConfig() as cvae:
            columns = sum(len(coding.columns) for coding in meta.codings)
            inputs = CvaeInputs(arrays["x"], arrays["reference"])
            features = inputs.x.shape[1]
            template = nnx.eval_shape(lambda: Cvae(features, columns, cvae, rngs=nnx.Rngs(0)))
            return *nnx.split(template, nnx.Param), inputs


def _task_columns(fields: dict[str, np.ndarray]) -> TaskColumns:
    optional = TaskColumns._field_defaults
    return TaskColumns(
        **{
            name: fields[f"tasks.{name}"]
            for name in TaskColumns._fields
            if name not in optional or f"tasks.{name}" in fields
        }
    )


def _witnesses(
    meta: _Meta, arrays: dict[str, np.ndarray]
) -> tuple[Standard, Unwitnessed] | tuple[None, None]:
    if not meta.witnesses:
        return None, None
    # An earlier version knew no average of what is said.
    fields = {"unwitnessed.location": np.zeros(len(meta.task_ids), np.float32)} | arrays
    return Standard(meta.witnesses, arrays["witness.mean"], arrays["witness.sd"]), Unwitnessed(
        *(fields[f"unwitnessed.{name}"] for name in Unwitnessed._fields)
    )
