"""A backend of another package on a device: that package goes along, as a wheel of what is installed here."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, entry_points
from importlib.util import find_spec
from pathlib import Path

from ....errors import UnservedError
from ...registry import BACKENDS
from .luggage import add_to_wheel

_GROUPS = "edgepress."
_OURS = "edgepress"
_COMPILED = {".so", ".pyd", ".dylib"}
_NO_MODULES = {".pyc", ".pyo"}


def plugin_of(backend: str) -> Distribution | None:
    """The package that registers a backend; None for edgepress itself."""
    found = (point.dist for point in entry_points(group=BACKENDS.group, name=backend))
    return next((dist for dist in found if dist is not None and dist.name != _OURS), None)


def plugin_needs(plugin: Distribution) -> tuple[str, ...]:
    """What it requires on a device: nothing of its extras, and not edgepress, which comes along."""
    asked = (text for text in plugin.requires or () if "extra ==" not in text)
    return tuple(text for text in asked if re.split(r"[^\w.-]", text, maxsplit=1)[0].lower() != _OURS)


def plugin_wheel(plugin: Distribution, directory: Path) -> Path:
    """Its modules, those that it registers with edgepress, as they are here; the same ones give the same bytes.

    Raises:
        UnservedError: some are compiled, and those for the device are not here.
    """
    name = re.sub(r"[-_.]+", "_", plugin.name)
    path = directory / f"{name}-{plugin.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for inside, file in _modules(plugin):
            if file.suffix in _COMPILED:
                raise UnservedError(
                    f"{plugin.name} has compiled modules ({file.name}), which are for this machine: it is not brought "
                    "to a device.",
                    hint=f"Install {plugin.name} and edgepress in the Python there, and run the command there.",
                )
            add_to_wheel(wheel, inside, file.read_bytes())
        for text in ("METADATA", "entry_points.txt"):
            content = (plugin.read_text(text) or "").encode()
            add_to_wheel(wheel, f"{name}-{plugin.version}.dist-info/{text}", content)
    return path


def _modules(plugin: Distribution) -> Iterator[tuple[str, Path]]:
    """(name in the wheel, file) of each top-level module that it registers."""
    points = (point for point in plugin.entry_points if point.group.startswith(_GROUPS))
    for top in sorted({point.value.partition(":")[0].partition(".")[0] for point in points}):
        spec = find_spec(top)
        if spec is None:
            continue
        for place in map(Path, spec.submodule_search_locations or ()):
            for file in sorted(place.rglob("*")):
                if file.is_file() and file.suffix not in _NO_MODULES:
                    yield f"{top}/{file.relative_to(place).as_posix()}", file
        if spec.submodule_search_locations is None and spec.origin is not None:
            yield Path(spec.origin).name, Path(spec.origin)
