"""Damaged files, kills and interrupts, and what the commands do with them."""
