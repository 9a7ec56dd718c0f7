"""The stages of an export, one a file: each takes a draft and returns it with more in it."""
