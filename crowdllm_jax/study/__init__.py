"""What real people answered."""
