"""What the parts of a pipeline are called, inside and to the user."""

from __future__ import annotations

PREPROCESS, NETWORK, POSTPROCESS = "edgepress_preprocess", "edgepress_network", "edgepress_postprocess"
# A layer is called as the network calls it, so that a pattern of `--exclude` fits with and without what is around it.
# No module is called `preprocess()`.
_PARTS = {PREPROCESS: "preprocess()", NETWORK: "", POSTPROCESS: "postprocess()"}
AROUND = (_PARTS[PREPROCESS], _PARTS[POSTPROCESS])


def without_parts(name: str) -> str:
    """A dotted name in a pipeline as the user knows it: `edgepress_network.stem.conv` is `stem.conv`."""
    first, _, rest = name.partition(".")
    if first not in _PARTS:
        return name
    return ".".join(part for part in (_PARTS[first], rest) if part)
