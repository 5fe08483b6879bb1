"""A language model is tuned to answer as people do, by low-rank adapters."""
