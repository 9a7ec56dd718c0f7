"""What writes a decoder in the form that a runtime's own library opens: a file a runtime."""
