"""Decoders, models that write text: what is particular to them, from their weights to a directory that generates."""
