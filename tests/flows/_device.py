"""What a device has installed, as a directory of links: the packages that were asked for, and what they need."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

import edgepress
from edgepress.profiles.reading.toml_file import read_toml

# Run as `python -I -S -c`: no site-packages, no PYTHONPATH, no working directory; only what lies in the first argument.
ALONE = """
import importlib.util, site, sys

site.addsitedir(sys.argv.pop(1))
assert importlib.util.find_spec("torch") is None and importlib.util.find_spec("transformers") is None
"""


def device_alone(directory: Path, extra: str = "generate") -> Path:
    """edgepress as a device has it: the base install with an extra."""
    (directory / "edgepress").symlink_to(Path(edgepress.__file__).parent, target_is_directory=True)
    # Its entry points. Beside the sources of an editable installation there may be other metadata, which come first.
    places = [Path(str(found.locate_file(""))) for found in distributions(name="edgepress")]
    known = next(info for place in places for info in place.glob("edgepress-*.dist-info"))
    (directory / known.name).symlink_to(known)
    project = read_toml(Path(__file__).resolve().parents[2] / "pyproject.toml")["project"]
    needs = [*project["dependencies"], *project["optional-dependencies"][extra]]
    return installed_alone(directory, *needs)


def installed_alone(directory: Path, *requirements: str) -> Path:
    """Links to all that these requirements and theirs, by the metadata of what is installed here, consist of."""
    done: set[str] = set()
    waiting = _needs(requirements, {""})
    while waiting:
        asked = waiting.pop()
        if str(asked) in done:
            continue
        done.add(str(asked))
        found = distribution(asked.name)
        waiting += _needs(found.requires or (), {"", *asked.extras})
        root = Path(str(found.locate_file("")))
        tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (directory / top).exists():
                (directory / top).symlink_to(root / top)
    return directory


def _needs(requires: Iterable[str], extras: Iterable[str]) -> list[Requirement]:
    """Those that hold here, without those of other extras."""
    parsed = [Requirement(each) for each in requires]
    return [one for one in parsed if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in extras)]
