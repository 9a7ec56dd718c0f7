"""Files of measurements and comparisons, read back for a report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgepress.errors import InputError
from edgepress.exporter.bundle.reportables import load_reportable
from edgepress.profiles.findings.comparison import load_comparison
from edgepress.profiles.findings.files import json_text
from edgepress.profiles.findings.parity import Parity
from edgepress.profiles.findings.profile import save_profile

from ._subjects import comparison, profile


def test_each_file_is_known_by_its_kind(tmp_path: Path) -> None:
    save_profile(profile(), tmp_path / "p.json")
    assert load_reportable(tmp_path / "p.json") == profile()
    equal = Parity(sqnr_db=float("inf"), max_abs=0.0, cosine=1.0, argmax=1.0)
    found = comparison()
    found = replace(found, a=replace(found.a, parity=equal))
    (tmp_path / "c.json").write_text(json_text(found))
    assert load_reportable(tmp_path / "c.json") == found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"schema": 1', '"schema": 2'), "schema 2; this edgepress reads 1"),
        (('"kind": "edgepress comparison"', '"kind": "other"'), "is not a comparison"),
        (('"command"', '"comand"'), "`comand`|`command`"),
        (("}", ""), "cannot be read"),
    ],
)
def test_a_comparison_of_another_schema_is_refused(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(json_text(comparison()).replace(*change))
    with pytest.raises(InputError, match=words):
        load_comparison(path)


def test_what_is_infinite_is_written_as_json_has_it() -> None:
    text = json_text(Parity(sqnr_db=float("inf"), max_abs=0.0, cosine=1.0, argmax=1.0))

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(text, parse_constant=refuse)["sqnr_db"] == "Infinity"
