"""What `import crowdllm_jax as cl` offers, whatever else of the package is imported."""

import importlib

import crowdllm_jax as cl


def test_no_room_hides_a_public_name():
    """A package that is imported becomes a name of the package it stands in."""
    modules = {name: importlib.import_module(f"crowdllm_jax.{m}") for name, m in cl._PUBLIC.items()}
    for name, module in modules.items():
        assert getattr(cl, name) is getattr(module, name), name
