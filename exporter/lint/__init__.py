"""A graph held against its target before anything is compiled: what will fail, be wrong or be slow there, and why."""
