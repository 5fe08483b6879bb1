"""A frozen language model in Flax: folder -> arrays -> probabilities of a scale's options."""
