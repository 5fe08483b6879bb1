"""Files that people bring: one module per format, each of which reads it into a `Sheet`."""
