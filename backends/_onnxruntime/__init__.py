"""Decoders, loaders and execution providers of onnxruntime."""
