"""What speaks against int8 on other data than those at hand: one doubt a file."""
