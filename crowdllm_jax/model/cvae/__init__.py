"""The published model (arXiv 2512.07890)."""
