"""The export of a decoder: its weights rounded, written for a runtime, proven on text, timed and bundled."""
