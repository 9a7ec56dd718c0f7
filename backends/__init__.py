"""Who compiles and runs a graph: one file a runtime, one small interface."""
