"""Checkpoints through orbax, behind this one module; of one of several processes that works by
itself, in NumPy's own format.

A tree is stored as a flat mapping from its leaves' paths to host arrays, so that what lies on disk
does not depend on the classes in memory. Nothing is pickled. A state carries the sha256 of all its
numbers, because orbax loads a file with a flipped bit without a word.
"""

import hashlib
import logging
import os
import shutil
import warnings
from pathlib import Path
from typing import Any, Self, TypeVar

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from crowdllm_jax.errors import CrowdError, CrowdWarning, first_line, named_errors
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.files import new_folder

Tree = TypeVar("Tree")

# Orbax reports every save at INFO and warns where a host array has no sharding: noise here.
logging.getLogger("absl").setLevel(logging.ERROR)


DIGEST = "sha256"
"""Name of the array that holds it beside a state's own."""

ALONE = "arrays.npz"
"""What one of several processes writes by itself, where orbax would wait for the others. It is read
wherever orbax's own files are."""


class Checkpoints:
    """Numbered states of one training run in a folder; the last two are kept.

    The best weights are part of the state (`cvae.epoch.TrainState`), so keeping the latest keeps
    the best, and a loss that is not finite cannot push the best out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with named_errors(folder, "cannot be written", Exception):
            folder.mkdir(parents=True, exist_ok=True)
            self._orbax = _steps_in(folder.resolve())

    def save(self, step: int, state: object) -> None:
        """Begin to save a state, once the one before is on the disk; it appears whole or not at
        all."""
        flat = flatten(state)
        with named_errors(self.folder, "cannot be written", Exception):
            self._orbax.wait()  # orbax would skip a state that comes while another is being saved
            self._orbax.save_async(step, flat | {DIGEST: digest(flat)}, overwrite=True)

    def latest(self, like: Tree) -> Tree | None:
        """The newest state that is whole, or None where there is none at all.

        A damaged state is passed over with a warning: training goes on from the one before, to the
        same end.

        Args:
          like: a state of the same structure, shapes and dtypes.
        Raises:
          CrowdError: no state can be read, or it is the state of another configuration.
        """
        self._orbax.wait()
        steps = self._steps()
        for step in sorted(steps, reverse=True):
            try:
                # As stored: given a wish, orbax casts dtypes to it without a word.
                stored = self._load(step)
                damage = "" if _is_whole(stored) else "its sha256 is another"
            except Exception as error:
                damage = first_line(error)
            if not damage:
                try:
                    return unflatten(stored, like, self.folder)
                except CrowdError as error:
                    raise CrowdError(
                        f"{error}, or is an earlier version's; delete the folder to train anew"
                    ) from None
            warnings.warn(
                f"{self.folder}: the checkpoint of step {step} is damaged ({damage}) and passed "
                "over",
                CrowdWarning,
                stacklevel=2,
            )
        if not steps:
            return None
        raise CrowdError(
            f"{self.folder}: no checkpoint can be read; delete the folder to train anew"
        )

    def _load(self, step: int) -> dict[str, np.ndarray]:
        folder = self.folder / str(step)
        return load_arrays(folder) if (folder / ALONE).is_file() else self._orbax.load(step)

    def newest(self) -> int:
        """Number of the newest state, damaged or not; 0 where there is none."""
        return max(self._steps(), default=0)

    def _steps(self) -> list[int]:
        return [int(p.name) for p in self.folder.iterdir() if p.name.isdecimal()]

    def close(self) -> None:
        """Wait until everything is on the disk."""
        with named_errors(self.folder, "cannot be written", Exception):
            self._orbax.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _steps_in(folder: Path) -> Any:
    if processes.is_alone():
        return _OwnSteps(folder)
    return ocp.training.Checkpointer(
        folder,
        preservation_policy=ocp.training.preservation_policies.LatestN(2),
        cleanup_tmp_directories=True,
    )


class _OwnSteps:
    """What `Checkpoints` takes of orbax's Checkpointer, which several processes can only use
    together, for one that works by itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for left in folder.glob(".tmp-*"):  # of a process that was killed
            shutil.rmtree(left)

    def save_async(self, step: int, arrays: dict[str, np.ndarray], *, overwrite: bool) -> None:
        if overwrite:
            shutil.rmtree(self._folder / str(step), ignore_errors=True)
        _save_alone(self._folder / str(step), arrays)
        steps = sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdecimal())
        for old in steps[:-2]:
            shutil.rmtree(self._folder / str(old))

    def load(self, step: int) -> dict[str, np.ndarray]:
        return load_arrays(self._folder / str(step))

    def wait(self) -> None:
        """Everything is on the disk."""

    def close(self) -> None:
        """Everything is on the disk."""


def save_arrays(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Store named arrays in a folder that does not exist yet."""
    if processes.is_alone():
        _save_alone(folder, arrays)
    else:
        ocp.save(folder.resolve(), arrays)


def _save_alone(folder: Path, arrays: dict[str, Any]) -> None:
    with new_folder(folder) as hidden, (hidden / ALONE).open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())


def load_arrays(folder: Path, remedy: str | None = None) -> dict[str, np.ndarray]:
    """Read what `save_arrays` stored; `remedy` is what to do where that cannot be read.

    Raises:
      CrowdError: the folder cannot be read.
    """
    process = jax.process_index()
    # Of several processes one may read without the others.
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process,
        active_processes={process},
        barrier_sync_key_prefix=f"process-{process}",
    )
    with (
        # Orbax and its storage raise many kinds.
        named_errors(folder, "cannot be read", Exception, remedy=remedy),
        ocp.Context(multiprocessing_options=alone),
    ):
        if (folder / ALONE).is_file():
            with np.load(folder / ALONE) as stored:
                return dict(stored)
        arrays: dict[str, np.ndarray] = ocp.load(folder.resolve())
    return arrays


def digest(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """(32,) uint8: sha256 of named arrays."""
    sha256 = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha256.update(f"{name}{array.dtype}{array.shape}".encode())
        sha256.update(np.ascontiguousarray(array).data)
    return np.frombuffer(sha256.digest(), np.uint8)


def _is_whole(stored: dict[str, np.ndarray]) -> bool:
    arrays = {name: array for name, array in stored.items() if name != DIGEST}
    return np.array_equal(stored.get(DIGEST, ()), digest(arrays))


def flatten(tree: object) -> dict[str, np.ndarray]:
    """Leaves of a tree as host arrays, by the name of their path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): np.asarray(jax.device_get(leaf)) for path, leaf in leaves}


def unflatten(stored: dict[str, np.ndarray], like: Tree, folder: Path) -> Tree:
    """Put arrays back into the structure of `like` (anything with shapes and dtypes).

    Raises:
      CrowdError: a leaf is missing or has another shape or dtype; `folder` names the place.
    """

    def pick(path: tuple[Any, ...], leaf: np.ndarray) -> np.ndarray:
        array = stored.get(_name(path))
        if array is None or (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
            raise CrowdError(f"{folder}: '{_name(path)}' does not fit this configuration")
        return array

    tree: Tree = jax.tree_util.tree_map_with_path(pick, like)
    return tree


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
