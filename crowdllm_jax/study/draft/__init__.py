"""Guess what a table means, and write the study that says it."""
