"""The one way through, step by step in the folder of a run."""
