"""Run seeds, or render what they gave."""

from __future__ import annotations

import sys
from pathlib import Path

from damage.figures import render
from damage.trials import run

if __name__ == "__main__":
    what, file = sys.argv[1], Path(sys.argv[2])
    if what == "render":
        print(render(file))
    else:
        first, last = map(int, what.split(":"))
        run(range(first, last), file, processes=int(sys.argv[3]) if len(sys.argv) > 3 else 2)
