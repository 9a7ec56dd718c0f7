"""Rewrites of a graph into operators that a runtime is faster in: one a file."""
