"""What `edgepress lint` says of a graph that was shipped: an error is a false alarm where the engine is right."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any


def findings(bundle: Path) -> list[dict[str, Any]]:
    """The rules' findings of a bundle's graph for its own target, alike ones together.

    The parser is left out: the export asked it, and refuses what it refuses.
    """
    from edgepress.exporter.bundle.manifest import load_bundle
    from edgepress.exporter.lint.run import by_rules

    opened = load_bundle(bundle)
    found = by_rules(opened.graph.path, opened.manifest.target, opened.manifest.model.axes)
    alike: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in found:
        alike[one.severity, one.rule, one.operator].append(f"{one.node}: {one.said}" if one.node else one.said)
    return [
        {"severity": severity, "rule": rule, "operator": operator, "nodes": len(said), "said": said[0]}
        for (severity, rule, operator), said in alike.items()
    ]
