"""From a float graph and statistics to a quantized one: where, how, and what it costs."""
