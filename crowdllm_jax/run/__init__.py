"""The one way through, in a folder."""
