"""Models of public libraries, exported and judged by what their engines compute."""
