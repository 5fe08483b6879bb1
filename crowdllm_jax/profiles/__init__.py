"""Who is recruited."""
