"""A torch module as ONNX by torch's own exporters, and what they are taught where they are wrong or stop."""
