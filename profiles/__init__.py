"""What a device is, and what was measured on it."""
