"""The engine against the graph that it was compiled from: where both part, and what is tried then."""
