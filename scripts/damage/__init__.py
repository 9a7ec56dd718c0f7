"""Damaged files, and what the commands do with them."""
