"""Limits that a person set, and whether they hold."""
