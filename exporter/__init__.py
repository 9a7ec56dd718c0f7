"""What happens to a model, in order: the pipeline, its stages, and the command line."""
