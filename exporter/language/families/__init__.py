"""How models are made up, a file a family: a function from transformers' module to a `Decoder`.

The module has no weights; it says which there are, of which shape, and with which settings it computes.
"""
