"""ncnn as a backend of edgepress, and its targets."""
