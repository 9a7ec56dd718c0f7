"""edgepress turns a trained PyTorch model into what an edge device runs: compressed, compiled, proven and measured."""
