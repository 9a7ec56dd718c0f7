"""Valid ONNX files that nobody wrote: made from a seed, exported, and judged against onnxruntime on the file itself."""
