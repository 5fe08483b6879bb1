"""Agents, drawn or counted, written and read."""
