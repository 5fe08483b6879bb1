"""Fixtures of scoring: personas are asked as a reference is."""

from asked import ask, model, scored, serve

__all__ = ["ask", "model", "scored", "serve"]
