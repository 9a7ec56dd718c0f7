"""Where an engine runs."""
