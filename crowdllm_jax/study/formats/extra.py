"""Packages that only some formats need."""

import importlib
from types import ModuleType

from crowdllm_jax.errors import CrowdError


def needed(package: str, what: str) -> ModuleType:
    """Import a package that reads a format.

    Raises:
      CrowdError: it is not installed; how to install it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise CrowdError(
            f"{what} are read with {package}, which is not installed: "
            "pip install 'crowdllm-jax[files]'"
        ) from error
