"""What was given for a bundle and is none: the message names what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepress.errors import InputError
from edgepress.exporter.bundle.manifest import load_bundle


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory with the manifests of two bundles, and one without any."""
    monkeypatch.chdir(tmp_path)
    for name in ("net-cpu", "net-mobile"):
        (tmp_path / "dist" / name / "engine").mkdir(parents=True)
        (tmp_path / "dist" / name / "manifest.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "net.py").write_text("")


@pytest.mark.usefixtures("dist")
@pytest.mark.parametrize(
    ("given", "why", "what_to_do"),
    [
        ("dist", "it has no manifest.json", "It holds bundles; give one: dist/net-cpu, dist/net-mobile."),
        ("dist/net-cup", "it does not exist", "Did you mean dist/net-cpu"),
        ("net-cpu", "it does not exist", "`edgepress export` makes one."),
        ("dist/net-cpu/manifest.json", "it is a file", "The bundle is the whole directory: dist/net-cpu"),
        ("dist/net-cpu/engine", "it has no manifest.json", "The bundle is the whole directory: dist/net-cpu"),
        ("net.py", "it is a file", "`edgepress export` makes one."),
        ("empty", "it has no manifest.json", "`edgepress export` makes one."),
    ],
)
def test_the_message_names_what_was_meant(given: str, why: str, what_to_do: str) -> None:
    with pytest.raises(InputError) as caught:
        load_bundle(Path(given))
    assert caught.value.message == f"{given} is not a bundle: {why}."
    assert what_to_do in (caught.value.hint or "")
