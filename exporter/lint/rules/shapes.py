"""Free axes where the target's compiler wants a range, or a size."""

from __future__ import annotations

from collections.abc import Iterator

from ...graphs.files import says_nothing
from ..examined import Examined, found_at
from ..finding import Finding


def find(examined: Examined) -> Iterator[Finding]:
    """Inputs with a free axis: an error where sizes must be fixed, a warning where a range is still to be given."""
    tools = examined.target.toolchain
    if tools.shapes == "free":
        return
    for value in examined.model.graph.inputs:
        if value.const_value is not None or value.shape is None:
            continue
        names = [
            _name(str(value.name), axis, size) for axis, size in enumerate(value.shape) if not isinstance(size, int)
        ]
        if tools.shapes == "fixed" and names:
            yield found_at(
                None,
                "error",
                f"input {value.name} has the free axes {', '.join(names)}, and {tools.name} takes fixed sizes only",
                remedy="Export with sizes in place of free axes.",
                source=tools.source,
            )
        elif unsaid := [name for name in names if name not in examined.axes]:
            yield found_at(
                None,
                "warning",
                f"input {value.name} has the free axes {', '.join(unsaid)}, and {tools.name} asks a range of each",
                remedy="Give it with " + " ".join(f"--axis {name}=MIN:USUAL:MAX" for name in unsaid) + ".",
                source=tools.source,
            )


def _name(value: str, axis: int, size: object) -> str:
    """As `read_graph` calls it, which gives a name to an axis that has none."""
    said = getattr(size, "value", None)
    return f"{value}_axis{axis}" if says_nothing(said) else str(said)
