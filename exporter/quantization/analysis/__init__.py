"""What is asked of a float graph and its statistics before anything is rewritten; nothing here changes a graph."""
