"""Modules of one directory as one text, for a Python that has no edgepress."""

from __future__ import annotations

import re
from pathlib import Path

_OWN = re.compile(r"^from \.\w+ import [^(\n]+\n", re.MULTILINE)


def one_file(directory: Path, modules: tuple[str, ...]) -> str:
    """The modules one behind the other, without what they import from one another.

    Args:
        modules: in the order of their imports; their top-level names differ, and each import of another one is one
            line.
    """
    texts = {name: (directory / f"{name}.py").read_text(encoding="utf-8") for name in modules}
    return "".join(f"\n# --- {name}\n{_OWN.sub('', text)}" for name, text in texts.items())
