"""Several processes, on one machine or many, that work on one run in a folder they share.

A stretch of agents is drawn by one process alone, with the program that it would run by itself, so
that a population does not depend on how many there are. All go through a run's steps together, and
the first does what is done once. They agree on when everybody has come so far (`meet`).
"""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # what its coordinator keeps has no public name
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, Sharding

from crowdllm_jax.errors import CrowdError, PeerError, first_line

HEARTBEAT = 10
"""Seconds after which a process that says nothing is taken for dead."""

PATIENCE = 25
"""Seconds to wait for the others at the start."""


def join(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    patience: int = PATIENCE,
) -> None:
    """Become one process of several; before anything is computed.

    Args:
      coordinator: host:port of process 0. processes, process: how many there are, and which this
        is. All None where a scheduler says so (SLURM, Open MPI, a Kubernetes JobSet, a TPU pod).
      patience: seconds to wait for the others.
    Raises:
      CrowdError: not all or none of the three are given, or no scheduler is found.
      PeerError: the others do not come.
    """
    given = (coordinator, processes, process)
    if None in given and given != (None, None, None):
        raise CrowdError(
            "--coordinator, --processes and --process go together; under a scheduler "
            "leave all three out"
        )
    if processes is not None and process is not None and not 0 <= process < processes:
        raise CrowdError(f"--process {process}: they are numbered from 0 to {processes - 1}")
    if coordinator is not None and process:
        _wait_for(coordinator, patience)
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            # JAX ends the first process where the others do not come; the caller is to be earlier.
            initialization_timeout=patience + 10,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=PATIENCE,
        )
    except ValueError as error:
        raise CrowdError(
            f"--distributed: no scheduler says who the processes are ({error}); give "
            "--coordinator, --processes and --process"
        ) from error
    except RuntimeError as error:
        raise PeerError(
            f"the processes did not come together in {patience} s: {first_line(error)}"
        ) from error


def _wait_for(coordinator: str, patience: int) -> None:
    """Wait until process 0 listens; JAX would abort this process without a word of ours."""
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise CrowdError(f"--coordinator {coordinator}: write it as HOST:PORT")
    end = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise PeerError(
                    f"{coordinator}: process 0 cannot be reached for {patience} s "
                    f"({error}); --wait waits longer"
                ) from error
            time.sleep(0.2)


_alone: list[bool] = []
"""Not empty while this process works by itself."""


def size() -> int:
    """How many processes there are."""
    return int(jax.process_count()) if _joined() else 1


def rank() -> int:
    """Which of them this is; 0 does what is done once."""
    return int(jax.process_index()) if _joined() else 0


def _joined() -> bool:
    # Who only reads files does not take hold of an accelerator to learn that it is alone.
    return not _alone and jax.distributed.is_initialized()


@contextmanager
def alone() -> Iterator[None]:
    """Do something by itself, while the others may do something else: as a process does it that is
    the only one, on its own devices. Where it is the only one, that is so anyway."""
    if size() == 1:
        yield
        return
    _alone.append(True)
    try:
        yield
    finally:
        _alone.pop()


def is_alone() -> bool:
    """Whether this is one of several processes that works by itself just now."""
    return bool(_alone)


def _devices() -> list[jax.Device]:
    """Those that work together here: of all processes, or this one's own where it is alone."""
    return jax.local_devices() if _alone else jax.devices()


def takes_all(devices: int) -> bool:
    """Whether a fit on so many devices takes more than one of several processes has."""
    return size() > 1 and devices > len(jax.local_devices())


def mesh_of(devices: int, axis: str, key: str) -> Mesh | None:
    """The devices that share one fit; None where this process does it on one of its own.

    Args:
      devices: how many; of several processes, all that they have. axis: what they share.
      key: the configuration's name of the number.
    Raises:
      CrowdError: there are fewer, or several processes would leave some out.
    """
    if devices == 1:
        return None
    available = _devices()
    if devices > len(available):
        raise CrowdError(
            f"{key}: {devices}, but there are {len(available)} devices; give at most as many"
        )
    if size() > 1 and devices < len(available):
        raise CrowdError(
            f"{key}: {devices}, but there are {len(available)} devices; several processes share a "
            f"fit by all of them ({len(available)}), or each has fits of its own (by at most "
            f"{len(jax.local_devices())})"
        )
    return Mesh(np.array(available[:devices]), (axis,), axis_types=(AxisType.Auto,))


def laid_out(whole: np.ndarray, sharding: Sharding) -> jax.Array:
    """An array on the devices of all processes, who all have the whole of it. `device_put` would
    compare what they have, each time, and find NaN unlike itself."""
    return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])


def meet(step: str) -> None:
    """Wait until every process has come to this step.

    Raises:
      PeerError: one of them has ended before.
    """
    if size() == 1:
        return
    with _together(step):
        multihost_utils.sync_global_devices(step)


def gather(step: str, numbers: Sequence[float]) -> np.ndarray:
    """(processes, n) float32: the n numbers that every process brings to this step.

    Raises:
      PeerError: one of them has ended before.
    """
    with _together(step):
        told = multihost_utils.process_allgather(np.asarray(numbers, np.float32))
    return np.asarray(told).reshape(size(), len(numbers))


def exchange(step: str, data: bytes) -> list[bytes]:
    """What every process brings to this step, process by process.

    Raises:
      PeerError: one of them has ended before.
    """
    with _together(step):
        sizes = np.asarray(multihost_utils.process_allgather(np.int32(len(data)))).ravel()
        room = np.zeros(sizes.max(), np.uint8)
        room[: len(data)] = np.frombuffer(data, np.uint8)
        told = np.asarray(multihost_utils.process_allgather(room)).reshape(len(sizes), -1)
    return [row[:size].tobytes() for row, size in zip(told, sizes, strict=True)]


def next_in(queue: str) -> int:
    """The next number, from 0, of a queue that all processes take from: each gets other ones.

    Raises:
      PeerError: the first process, which counts, has ended.
    """
    with _together(queue):
        client: Any = distributed.global_state.client
        taken: int = client.key_value_increment(f"crowdllm {queue}", 1)
    return taken - 1


@contextmanager
def _together(step: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the transport raises whatever it likes
        if "Gloo context initialization" in str(error) and (own := _own_loopback()):
            raise PeerError(
                f"the other processes cannot reach this one: {own} here, and JAX gives them the "
                "address of that name; in /etc/hosts give it the one by which others know "
                f"this machine ({first_line(error)})"
            ) from error
        raise PeerError(
            f"another process of this run has ended before '{step}': see its own "
            f"message ({first_line(error)})"
        ) from error


def _own_loopback() -> str:
    """That this machine's name stands for itself alone, where it does."""
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        return ""
    return f"its name {name!r} stands for {address}" if address.startswith("127.") else ""
