"""Quantization-aware training: a graph of Q/DQ as a torch module that learns."""
