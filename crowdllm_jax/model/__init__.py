"""Belief, blender, decision."""
