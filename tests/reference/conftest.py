"""Fixtures of references."""

from asked import ask, model, scored, serve

__all__ = ["ask", "model", "scored", "serve"]
