"""What a decision refers to: one file per kind."""
