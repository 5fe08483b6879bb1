"""One file per group of commands: their arguments, and beside them what they do.

Each command imports what it needs when it is done, so that `--help` does not wait for JAX.
"""
