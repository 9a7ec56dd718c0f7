"""Data files only: one TOML each."""
