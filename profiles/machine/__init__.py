"""The machine a process runs on: what it is, how it is doing, and what it uses."""
