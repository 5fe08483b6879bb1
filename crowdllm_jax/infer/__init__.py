"""What people and the crowd say together."""
