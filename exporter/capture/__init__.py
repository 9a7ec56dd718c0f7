"""From a source to an ONNX graph at the target's opset, proven, with golden data made with it."""
