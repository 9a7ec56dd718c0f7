"""What OpenVINO is given otherwise than ONNX has it, and how it is read and loaded."""
