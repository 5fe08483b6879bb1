"""Sums over a batch whose bits do not depend on how many devices share it.

The batch is cut into a fixed number of shares. Each goes through the same program, of the same
shapes, whichever device it comes to, and so comes to the same bits. Every device is then given what
all shares came to, once a step, and adds it up in the order of the shares.

One device alone is left out: XLA takes programs of several devices through other passes than those
of a single one, and what comes of the same expressions does not always round alike.
"""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh

from crowdllm_jax.errors import CrowdError


def check_shares(shares: int, devices: int, batch: int, part: str, batch_key: str) -> None:
    """Make sure that a batch can be cut as asked, and that devices take as many shares each.

    Args:
      part: of the configuration, which has the keys `shares`, `devices` and `batch_key`.
    Raises:
      CrowdError: it cannot.
    """
    if batch % shares:
        raise CrowdError(
            f"{part}.shares: {shares} do not divide {part}.{batch_key} ({batch}); change either"
        )
    if shares > 1 and devices == 1:
        raise CrowdError(
            f"{part}.shares: {shares} are for 2 or more devices, and {part}.devices is 1; give more"
            " devices (of a CPU, JAX_NUM_CPU_DEVICES=2 makes two) or leave out the shares"
        )
    if shares > 1 and shares % devices:
        raise CrowdError(
            f"{part}.devices: {devices} do not divide {part}.shares ({shares}); change either"
        )


def stretches(shares: int, devices: int) -> np.ndarray:
    """(devices, 2) the first share that each device takes, and the one after its last.

    To be an argument of the program, with the devices as its first axis. A compiler that knew them
    would see loops that begin at 0 or end at once, and compile these otherwise than others: to
    programs that round otherwise.
    """
    ends = np.arange(devices + 1, dtype=np.int32) * (shares // devices)
    return np.stack([ends[:-1], ends[1:]], axis=1)


def of_every_share(
    one: Callable[[jax.Array], Any], shares: int, stretch: jax.Array, mesh: Mesh
) -> Any:
    """What each share comes to, the same on every device.

    Args:
      one: a tree of float32 arrays for the number of a share.
      stretch: (1, 2) this device's of the `stretches`.
      mesh: the devices, on one axis, who are in a `jax.shard_map` over it.
    Returns:
      The tree, each array with a leading axis of shares.
    """
    first, end = stretch[0]
    flat, tree_of = ravel_pytree(
        jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(one, first))
    )

    def take(share: jax.Array, table: jax.Array) -> jax.Array:
        return lax.dynamic_update_index_in_dim(table, ravel_pytree(one(share))[0], share, 0)

    table = lax.fori_loop(first, end, take, jnp.zeros((shares, len(flat))))
    own = lax.dynamic_slice_in_dim(table, first, shares // mesh.size)
    return jax.vmap(tree_of)(lax.all_gather(own, mesh.axis_names, tiled=True))


def sum_in_order(tree: Any) -> Any:
    """The sums over the leading axes, from the first to the last."""
    return jax.tree.map(lambda table: reduce(add, [table[i] for i in range(len(table))]), tree)
