"""The reference evaluator of onnx as a backend of edgepress."""
