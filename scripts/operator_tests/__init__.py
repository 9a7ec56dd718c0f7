"""The operator tests of the onnx package, through an export."""
