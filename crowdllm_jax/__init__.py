"""Digital populations from a few human answers: CrowdLLM (arXiv 2512.07890) in JAX/Flax."""
