"""ONNX files on disk, values in them, and synthetic values to feed them."""
