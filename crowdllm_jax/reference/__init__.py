"""Where a task's reference decision comes from."""
