"""The published model: belief generator, blender, and their composition into a decision."""
