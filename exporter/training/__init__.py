"""Training a compressed model: recovery after pruning, and distillation into a student."""
