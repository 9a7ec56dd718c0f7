"""Structured pruning and 2:4 sparsity of a torch module, before it is captured."""
