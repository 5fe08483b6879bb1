"""A local page: filter agents, pick a task, see people beside them."""
