"""From a float graph and statistics to an int8 graph: where, how, and what it costs."""
