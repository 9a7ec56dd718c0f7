"""Building a TensorRT engine and proving it, as it runs in edgepress and, as one file, on a device without edgepress.

Its modules keep to the syntax of Python 3.6 and need nothing but the standard library and what JetPack brings.
`source.joined` makes `build.py` of them; so their top-level names differ, and each import of another one is one line.
"""
