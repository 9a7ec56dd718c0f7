"""A public name means one thing in the whole package."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOUSES = ("backends", "calibration", "exporter", "profiles")
# Names that two modules may give to different things, and why.
ALLOWED: dict[str, str] = {}


def kinds(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The public classes of a module, and the types that it gives a name of its own, each with what it stands for."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, f"class at line {node.lineno}"
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Subscript | ast.BinOp):
            yield target.id, ast.unparse(value)


def public(name: str) -> bool:
    """A type's name, and no constant's."""
    return name[0].isupper() and not name.isupper() and len(name) > 1


def test_no_two_types_share_a_public_name() -> None:
    homes: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for file in (path for house in HOUSES for path in sorted((ROOT / house).rglob("*.py"))):
        module = str(file.relative_to(ROOT))
        for name, meaning in kinds(ast.parse(file.read_text(encoding="utf-8"))):
            if public(name):
                # The same alias of a library's type may be written down in several modules; a class is one thing.
                homes[name][f"{module}: {meaning}" if meaning.startswith("class") else meaning] = module
    shared = {name: sorted(set(where.values())) for name, where in homes.items() if len(where) > 1}
    assert not {name: where for name, where in shared.items() if name not in ALLOWED}
    assert ALLOWED.keys() <= shared.keys(), "an exception that is not needed any more"
