"""Text to calibrate on, and to judge by, where the user gives none."""

from __future__ import annotations

import ast
import functools
import sysconfig
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import InputError
from ...profiles.reading.opened import read_bytes

LEAST = 300  # characters of a docstring that is text rather than a label
LARGEST = 200_000_000  # bytes of all texts together: a thousand times what a calibration reads
EVERY = 4  # one docstring in so many is kept for judging
SOME = 4  # one module in so many is read where a brief text does: 29,000 characters are kept for judging then
# Modules whose words are Python's help topics as well, by which language models are compared elsewhere.
QUOTED = frozenset({"bdb", "contextlib", "pdb", "string"})
# Fields of Python's syntax that hold statements, in the order of the grammar: a lambda's body is an expression.
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
OWN = "docstrings of the Python standard library, as no text was given"


def calibration_text() -> str:
    """Docstrings of the standard library in a fixed order; the same for a version of Python."""
    return _joined(judging=False)


def held_out_text(*, brief: bool = False) -> str:
    """Other docstrings of the standard library than those of `calibration_text`.

    Args:
        brief: of some modules alone, read in a quarter of the time, where nothing is calibrated: some of them may stand
            in `calibration_text`.
    """
    return _joined(judging=True, every=SOME if brief else 1)


def text_of(path: Path) -> str:
    """The text of a file, or of the `.txt` and `.md` files below a directory in the order of their names.

    Raises:
        InputError: there is none, or one is not UTF-8.
        UnreadableError: one is no regular file, or they are larger than any text to calibrate on.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist.", hint="Give a text file, or a directory with .txt or .md files.")
    files = [path] if path.is_file() else sorted(each for kind in ("txt", "md") for each in path.rglob(f"*.{kind}"))
    try:
        text = "\n\n".join(_contents(files))
    except UnicodeDecodeError as error:
        raise InputError(f"The text in {path} is not UTF-8: {error.reason}.", hint="Convert it to UTF-8.") from None
    if not text.strip():
        raise InputError(f"{path} holds no text.", hint="Give a text file, or a directory with .txt or .md files.")
    return text


def _contents(files: Iterable[Path]) -> Iterator[str]:
    left = LARGEST
    for file in files:
        data = read_bytes(file, most=left, hint="Give a text file, or a directory with .txt or .md files.")
        left -= len(data)
        yield data.decode("utf-8")


def _joined(*, judging: bool, every: int = 1) -> str:
    texts = (text for index, text in enumerate(_docstrings(every)) if (index % EVERY == EVERY - 1) == judging)
    return "\n\n".join(texts)


@functools.cache
def _docstrings(every: int) -> tuple[str, ...]:
    """Each long docstring once, neighbours from different modules, so that any stretch of them is varied.

    Args:
        every: one module in so many is read.
    """
    found = [(place, name, text) for name in _sources()[::every] for place, text in enumerate(_in_source(name))]
    found.sort(key=lambda each: (each[0], each[1].name))
    return tuple(dict.fromkeys(text for _, _, text in found))


def _sources() -> list[Path]:
    """Modules of the standard library that are no packages: text enough, read in two seconds."""
    root = Path(sysconfig.get_path("stdlib"))
    return [file for file in sorted(root.glob("*.py")) if file.stem not in QUOTED]


def _in_source(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return  # a module that this Python cannot read has no text to give
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in _statements(tree):
        text = ast.get_docstring(node) if isinstance(node, kinds) else None
        if text is not None and len(text) >= LEAST:
            yield text


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """What may hold a docstring, in the order of `ast.walk`, which goes through every expression as well."""
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()
        waiting.extend(each for field in _BLOCKS for each in getattr(node, field, ()))
        yield node
