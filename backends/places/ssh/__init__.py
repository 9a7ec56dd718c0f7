"""The place `ssh`: a device of the user's own."""
