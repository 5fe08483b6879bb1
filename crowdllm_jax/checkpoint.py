"""Checkpoints through orbax, behind this one module.

A tree is stored as a flat mapping from its leaves' paths to host arrays, so that what lies on disk
does not depend on the classes in memory. Nothing is pickled.
"""

import logging
from pathlib import Path
from typing import Self, TypeVar

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from crowdllm_jax.errors import CrowdError

Tree = TypeVar("Tree")

# Orbax reports every save at INFO and warns where a host array has no sharding: noise here.
logging.getLogger("absl").setLevel(logging.ERROR)


class Checkpoints:
    """Numbered states of one training run in a folder; the last two are kept.

    The best weights are part of the state (see `train.TrainState`), so keeping the latest keeps
    the best, and a loss that is not finite cannot push the best out.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._orbax = ocp.training.Checkpointer(
            folder.resolve(),
            preservation_policy=ocp.training.preservation_policies.LatestN(2),
            cleanup_tmp_directories=True,
        )

    def save(self, step: int, state: object) -> None:
        """Save a state; it appears whole or not at all."""
        self._orbax.save(step, flatten(state), overwrite=True)

    def latest(self, like: Tree) -> Tree | None:
        """The newest state, or None where there is none.

        Args:
          like: a state of the same structure, shapes and dtypes.
        Raises:
          CrowdError: what lies there cannot be read, or is the state of another configuration.
        """
        if self._orbax.latest is None:
            return None
        try:
            # As stored: given a wish, orbax casts dtypes to it without a word.
            stored = self._orbax.load(self._orbax.latest.step)
        except Exception as error:
            raise CrowdError(
                f"{self.folder}: the checkpoint of epoch {self._orbax.latest.step} cannot be read "
                f"({str(error).splitlines()[0][:200]}); delete the folder to train anew"
            ) from error
        return unflatten(stored, like, self.folder)

    def close(self) -> None:
        """Wait until everything is on the disk."""
        self._orbax.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def save_arrays(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Store named arrays in a folder that does not exist yet."""
    ocp.save(folder.resolve(), arrays)


def load_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Read what `save_arrays` stored.

    Raises:
      CrowdError: the folder cannot be read.
    """
    try:
        return ocp.load(folder.resolve())
    except Exception as error:
        reason = str(error).splitlines()[0][:200]
        raise CrowdError(f"{folder}: cannot be read: {reason}") from error


def flatten(tree: object) -> dict[str, np.ndarray]:
    """Leaves of a tree as host arrays, by the name of their path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): np.asarray(jax.device_get(leaf)) for path, leaf in leaves}


def unflatten(stored: dict[str, np.ndarray], like: Tree, folder: Path) -> Tree:
    """Put arrays back into the structure of `like` (anything with shapes and dtypes).

    Raises:
      CrowdError: a leaf is missing or has another shape or dtype; `folder` names the place.
    """

    def pick(path: tuple, leaf: np.ndarray) -> np.ndarray:
        found = stored.get(_name(path))
        if found is None or (found.shape, found.dtype) != (leaf.shape, leaf.dtype):
            raise CrowdError(f"{folder}: '{_name(path)}' does not fit this configuration")
        return found

    return jax.tree_util.tree_map_with_path(pick, like)


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
