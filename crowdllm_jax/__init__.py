"""Digital populations from a few human answers: CrowdLLM (arXiv 2512.07890) in JAX/Flax."""

__version__ = "0.1.0"
