"""Agents that are people: one belief per agent, for all tasks."""
