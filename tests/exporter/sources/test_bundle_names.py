"""What a bundle is called after: the source's name, in letters that every system takes."""

from __future__ import annotations

import pytest

from edgepress.exporter.sources.base import safe_name


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("net", "net"),
        ("mödel ü", "model-u"),
        ("mo\u0308del", "model"),  # the same letter in two signs, as macOS writes it
        ("über.v2", "uber.v2"),
        ("ﬁne", "fine"),
        ("日本", "model"),
        ("..", "model"),
        ("../../etc/passwd", "etc-passwd"),
    ],
)
def test_the_name_of_a_bundle(stem: str, name: str) -> None:
    assert safe_name(stem) == name
