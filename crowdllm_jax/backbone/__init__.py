"""A frozen language model answers questions."""
