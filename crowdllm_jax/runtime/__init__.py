"""What knows nothing of crowds: progress, files, YAML, randomness, processes, checkpoints."""
