"""What is changed in a float graph so that its int8 is more accurate: one lift a file."""
