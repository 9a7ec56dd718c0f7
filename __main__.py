"""`python -m edgepress`: the command line of the environment whose Python runs it."""

from .exporter.cli import main

if __name__ == "__main__":
    main()
