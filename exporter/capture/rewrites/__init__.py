"""Rewrites of a captured graph that every precision has: one a file."""
