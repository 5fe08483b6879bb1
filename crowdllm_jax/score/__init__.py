"""How close a crowd comes to people it was not shown."""
