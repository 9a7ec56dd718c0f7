import sys
from pathlib import Path

import pytest

from edgepress.errors import InputError, UnservedError
from edgepress.profiles.registry import Registry

GROUP = "edgepress.tests"


def register(folder: Path, package: str, points: dict[str, str]) -> None:
    """Write the metadata that an installed package has."""
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {value}" for name, value in points.items())
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}\n")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "thing_of_a_test.py").write_text("loads = []\nloads.append(1)\ndef thing(): ...\n")
    yield tmp_path
    sys.modules.pop("thing_of_a_test", None)


def test_names_are_sorted_and_nothing_is_imported_before_it_is_loaded(installed):
    register(installed, "one", {"later": "thing_of_a_test:thing", "broken": "no_such_module:thing"})
    register(installed, "two", {"early": "thing_of_a_test:loads"})
    registry = Registry(GROUP, "thing")
    assert registry.names() == ("broken", "early", "later")
    assert "thing_of_a_test" not in sys.modules
    assert registry.load("later") is sys.modules["thing_of_a_test"].thing is registry.load("later")
    assert registry.load("early") == [1]


def test_a_group_that_nobody_registers_in_is_empty():
    assert Registry("edgepress.nothing", "thing").names() == ()


def test_what_does_not_import_says_so_and_hides_no_other(installed):
    register(installed, "one", {"gone": "no_such_module:thing", "less": "thing_of_a_test:nothing", "ok": "json:dumps"})
    registry = Registry(GROUP, "thing")
    with pytest.raises(UnservedError, match=r"Thing 'gone' \(no_such_module:thing\) does not import: No module"):
        registry.load("gone")
    with pytest.raises(UnservedError, match=r"Thing 'less' .* has no attribute 'nothing'"):
        registry.load("less")
    assert callable(registry.load("ok"))


def test_an_unknown_name_lists_the_near_ones_or_all(installed):
    register(installed, "one", {"percentile": "json:dumps", "entropy": "json:loads"})
    registry = Registry(GROUP, "range method")
    with pytest.raises(InputError, match=r"Unknown range method 'percntile'. Did you mean percentile\?"):
        registry.load("percntile")
    with pytest.raises(InputError, match=r"Unknown range method 'zzz'. Known: entropy, percentile\."):
        registry.load("zzz")


def test_two_packages_with_one_name_are_refused_unless_they_mean_the_same(installed):
    register(installed, "one", {"same": "json:dumps", "both": "json:dumps"})
    register(installed, "two", {"same": "json:dumps"})
    assert Registry(GROUP, "thing").names() == ("both", "same")
    register(installed, "three", {"both": "json:loads"})
    with pytest.raises(InputError, match=r"Two packages register the thing 'both': json:\w+ and json:\w+\.") as raised:
        Registry(GROUP, "thing").names()
    assert raised.value.hint == "Uninstall one of them."


def test_an_order_puts_the_unknown_ones_where_it_says(installed):
    register(installed, "one", dict.fromkeys(("last", "zeta", "first", "alpha", "second"), "json:dumps"))
    registry = Registry(GROUP, "thing", order=("first", "second", ..., "last"))
    assert registry.names() == ("first", "second", "alpha", "zeta", "last")
    assert Registry(GROUP, "thing", order=("zeta", "absent", ...)).names()[:2] == ("zeta", "alpha")
