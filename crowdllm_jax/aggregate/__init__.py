"""From answers to the crowd's decision."""
