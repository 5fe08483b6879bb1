"""How fast tuning goes: tokens a second, memory, and what share of the device's own matrix product
that is."""

import resource
import sys
import time

import jax
import jax.numpy as jnp

from crowdllm_jax.backbone.tune.adapter import dtype_of
from crowdllm_jax.backbone.tune.examples import Batch, tokens_of
from crowdllm_jax.backbone.weights import Backbone

_SIZE = {"cpu": 1024}
_LARGE = 8192  # an accelerator's matrix


class Speed:
    """Counts what has been done since the second step, as the first compiles."""

    def __init__(self, backbone: Backbone) -> None:
        a = backbone.architecture
        heads = (2 * a.heads + 2 * a.kv_heads) * a.head_dim
        self._weights = a.layers * a.width * (heads + 3 * a.inner)
        self._devices = 1 if backbone.mesh is None else backbone.mesh.size
        self._peak = self._devices * matrix_product(dtype_of(backbone))
        self._tokens, self._began = 0, 0.0

    def add(self, batch: Batch) -> None:
        """Count a step."""
        if self._began == 0:
            self._began = time.perf_counter()
        else:
            self._tokens += tokens_of(batch)

    def __str__(self) -> str:
        if not self._tokens:
            return f"{memory():.1f} GB"
        rate = self._tokens / max(time.perf_counter() - self._began, 1e-9)
        # Two operations per weight and token forwards, and two for what goes back through them;
        # the layers that are computed anew for it count for nothing.
        share = 4 * self._weights * rate / self._peak
        return f"{rate:,.0f} tokens/s, {memory():.1f} GB, {share:.0%} of the matrix product"


def matrix_product(dtype: jnp.dtype) -> float:
    """Operations a second of the first device in the product of two large square matrices."""
    n = _SIZE.get(jax.default_backend(), _LARGE)
    product = jax.jit(jnp.matmul)
    x = jnp.ones((n, n), dtype)
    product(x, x).block_until_ready()
    began = time.perf_counter()
    for _ in range(3):
        x = product(x, x) * 0
    x.block_until_ready()
    return 3 * 2 * n**3 / (time.perf_counter() - began)


def memory() -> float:
    """Gigabytes at most so far: of the first device, or of this process where it is the CPU."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return float(stats["peak_bytes_in_use"]) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
