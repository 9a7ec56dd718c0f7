"""Targets, one TOML file each."""
