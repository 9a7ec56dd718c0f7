"""Text that every Python has, to read and to calibrate with; and windows of tokens of it."""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOPICS = 40
WINDOWS, WINDOW = 8, 512
# Their docstrings say what the topics say: `debugger` is pdb's own, `formatstrings` and `strings` are string's.
_SAID_TWICE = frozenset({"pdb.py", "string.py", "contextlib.py", "bdb.py"})


def evaluation() -> str:
    """The first 40 topics of the language reference by name, joined by a blank line."""
    return "\n\n".join(topics[name] for name in sorted(topics)[:TOPICS])


def calibration(samples: int = 32, characters: int = 2400) -> list[str]:
    """Docstrings of the standard library's modules and classes, none of which is in the evaluation text; seeded.

    Each of the samples is some docstrings of one file, of about 512 tokens together.
    """
    parts = [text for file in _library() if len(text := "\n\n".join(_docstrings(file))) > characters]
    order = np.random.default_rng(0).permutation(len(parts))[:samples]
    return [parts[i][:characters] for i in order]


def windows(tokens: list[int]) -> NDArray[np.int64]:
    """The first tokens as windows, int64 (8, 512).

    Raises:
        ValueError: the text has fewer.
    """
    if len(tokens) < WINDOWS * WINDOW:
        raise ValueError(f"{len(tokens)} tokens are fewer than {WINDOWS} windows of {WINDOW}")
    return np.array(tokens[: WINDOWS * WINDOW], np.int64).reshape(WINDOWS, WINDOW)


def evaluation_windows(directory: Path) -> NDArray[np.int64]:
    """The evaluation text in the words of the tokenizer of a Hugging Face directory."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    return windows(tokenizer(evaluation(), add_special_tokens=False)["input_ids"])


def _library() -> list[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = (file for file in sorted(root.rglob("*.py")) if file.name not in _SAID_TWICE)
    return [file for file in files if not {"site-packages", "dist-packages", "test", "tests"} & set(file.parts)]


def _docstrings(file: Path) -> list[str]:
    try:
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    except (SyntaxError, UnicodeDecodeError):
        return []
    found = (ast.get_docstring(node) for node in nodes if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)))
    return [text for text in found if text]
