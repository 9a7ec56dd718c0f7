"""The precisions as records, and that no other module tells them apart by name."""

import ast
from dataclasses import fields, replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from edgepress.errors import InputError, UnservedError
from edgepress.exporter.recipe import Recipe, choose_precision
from edgepress.profiles.device import precision as module
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.precision import (
    PrecisionName,
    load_precision,
    most_exact_first,
    precisions,
)
from edgepress.profiles.device.precision_names import PRECISIONS, precision_names
from edgepress.profiles.device.target import Target, load_target
from edgepress.profiles.findings.choice import fastest
from edgepress.profiles.timing.measurement import Measurement

ROOT = Path(__file__).parents[3]
INT4 = """
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.precision import Precision

COARSE4 = Precision(
    name="coarse4", title="coarse4", rank=5, integer=True, storage="float32", needs_data=True,
    least_db=8.0, golden_db=2.0,
    weights=Grid(bits=4, signed=True, symmetric=True, granularity="block", block=32),
)
FP64 = Precision(name="fp64", title="fp64", rank=0, integer=False, storage="float32", needs_data=False, least_db=90.0)
INT8 = Precision(name="int8", title="int8", rank=4, integer=False, storage="float32", needs_data=False, least_db=8.0)
"""


@pytest.fixture
def register(tmp_path, monkeypatch):
    """Install a package that registers a precision, by name; the process forgets it afterwards."""

    def registered(name: str, value: str) -> None:
        (tmp_path / "other_precisions.py").write_text(INT4)
        metadata = tmp_path / "other-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[edgepress.precisions]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(tmp_path)
        forget()

    yield registered
    forget()


def forget() -> None:
    PRECISIONS.__dict__.pop("_points", None)
    PRECISIONS._loaded.clear()
    module._by_name.cache_clear()


def test_the_built_in_ones_the_most_exact_first():
    assert [(p.name, p.rank, p.integer, p.storage, p.needs_data) for p in precisions()] == [
        ("fp32", 0, False, "float32", False),
        ("fp16", 1, False, "float16", False),
        ("bf16", 2, False, "float32", False),  # its graph is the FP32 one, which the runtime lowers
        ("int8", 3, True, "float32", True),
        ("int4", 4, True, "float32", False),  # of the weights of decoders, which need no data
    ]
    assert {p.name: (p.least_db, p.golden_db) for p in precisions()} == {
        "fp32": (60.0, None),
        "fp16": (30.0, None),
        "bf16": (25.0, None),
        "int8": (10.0, 3.0),
        "int4": (3.0, None),
    }
    assert [p.weight_bits for p in precisions()] == [32, 16, 32, 8, 4]
    assert [p.exact for p in precisions()] == [True, False, False, False, False]


def test_weights_of_int8_are_on_the_grid_of_every_built_in_scheme():
    schemes = [load_target(name).scheme for name in ("cpu", "server-cpu", "rpi5", "jetson")]
    assert {scheme.weight for scheme in schemes} == {load_precision("int8").weights}


def test_an_unknown_name_is_refused_with_the_near_ones():
    with pytest.raises(InputError, match=r"Unknown precision 'int9'\. Did you mean int8"):
        load_precision("int9")
    with pytest.raises(InputError, match="Known: bf16, fp16, fp32, int4, int8"):
        load_precision("zzz")


def test_their_names_are_listed_without_loading_one(register):
    assert precision_names() == ("int4", "int8", "bf16", "fp16", "fp32")
    register("coarse4", "not_there:COARSE4")
    assert precision_names() == ("int4", "int8", "bf16", "fp16", "fp32", "coarse4")


def test_a_file_is_refused_with_the_known_names():
    with pytest.raises(ValidationError, match="'int8', 'bf16', 'fp16' or 'fp32'"):
        TypeAdapter(PrecisionName).validate_python("int9")
    assert TypeAdapter(PrecisionName).validate_json('"bf16"') == "bf16"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"name": "a/b"}, "a/b"),
        ({"name": ""}, "is not letters"),
        ({"name": "auto"}, "taken"),
        ({"name": "engine"}, "taken"),
        ({"rank": -1}, "rank"),
        ({"weights": None}, "grid"),
    ],
)
def test_what_is_no_precision_is_refused(changed, says):
    with pytest.raises(ValueError, match=says):
        replace(load_precision("int8"), **changed)


def test_a_target_tells_its_integers_floats_and_halves():
    target = replace(load_target("server-cpu"), precisions=("int8", "bf16", "fp16", "fp32"))
    assert (target.integers, target.floats, target.halves) == (
        ("int8",),
        ("bf16", "fp16", "fp32"),
        ("bf16", "fp16"),
    )


def test_what_the_golden_inputs_must_reach_follows_what_is_asked():
    asked = [Recipe(minimum_sqnr_db=db) for db in (None, 2.0, 20.0, 70.0)]
    assert [recipe.least_golden_db("int8") for recipe in asked] == [3.0, 2.0, 3.0, 3.0]
    assert [recipe.least_golden_db("fp32") for recipe in asked] == [60.0, 2.0, 20.0, 70.0]
    assert [recipe.least_sqnr_db("bf16") for recipe in asked] == [25.0, 2.0, 20.0, 70.0]


def measured(ms: float) -> Measurement:
    samples = tuple(int(ms * 1e6) + i % 7 for i in range(300))
    return Measurement(samples=samples, rounds=tuple(i // 100 for i in range(300)), stable=True)


def int4_target(target: Target) -> Target:
    """The target as its data would say it."""
    values = {field.name: getattr(target, field.name) for field in fields(target)}
    return TypeAdapter(Target).validate_python({**values, "precisions": ("coarse4", "int8", "fp32")})


def test_another_package_adds_one_with_one_registration(register):
    with pytest.raises(ValidationError, match="Input should be"):
        int4_target(load_target("server-cpu"))
    register("coarse4", "other_precisions:COARSE4")
    assert [p.name for p in precisions()] == ["fp32", "fp16", "bf16", "int8", "int4", "coarse4"]
    assert load_precision("coarse4").weights == Grid(bits=4, signed=True, symmetric=True, granularity="block", block=32)
    assert load_precision("coarse4").weight_bits == 4
    target = int4_target(load_target("server-cpu"))
    assert target.integers == ("coarse4", "int8")
    assert Recipe().least_golden_db("coarse4") == 2.0
    assert choose_precision(Recipe(), target, has_data=True) == ("coarse4", "")
    name, why = choose_precision(Recipe(), target, has_data=False)
    assert name == "fp32"
    assert why.startswith("coarse4 and int8 were not made")
    with pytest.raises(InputError, match="coarse4 needs calibration data"):
        choose_precision(Recipe(precision="coarse4"), target, has_data=False)


def test_one_that_was_added_must_earn_its_place_against_those_more_exact(register):
    register("coarse4", "other_precisions:COARSE4")
    assert most_exact_first({"coarse4", "fp32", "int8"}) == ["fp32", "int8", "coarse4"]
    times = {"coarse4": measured(1.0), "int8": measured(1.0), "fp32": measured(2.0)}
    best, compared = fastest(times, list(times))
    assert best == "int8"
    assert (compared["coarse4"].against, compared["int8"].against) == ("int8", "fp32")


@pytest.mark.parametrize(
    ("name", "value", "error", "says"),
    [
        ("int8", "other_precisions:INT8", InputError, "int8, which edgepress has itself"),
        ("int2", "other_precisions:COARSE4", InputError, "'int2'"),
        ("fp64", "other_precisions:FP64", InputError, "rank 0"),
        ("coarse4", "other_precisions:Grid", InputError, "no such Precision"),
        ("coarse4", "other_precisions:MISSING", UnservedError, "does not import"),
    ],
)
def test_a_registration_that_is_none_is_refused(register, name, value, error, says):
    register(name, value)
    with pytest.raises(error, match=says):
        precisions()


def names_in(node: ast.expr | None) -> set[str]:
    """The precisions that are spelt out in it."""
    known = {precision.name for precision in precisions()}
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and n.value in known} if node else set()


def tables(tree: ast.AST) -> list[str]:
    """What tells precisions apart by name: a table of two or more, or a comparison with one that is not FP32."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = set().union(*(names_in(key) for key in node.keys if isinstance(key, ast.Constant)), set())
            found += [ast.unparse(node)] if len(keys) > 1 else []
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            items = set().union(*(names_in(item) for item in node.elts if isinstance(item, ast.Constant)), set())
            found += [ast.unparse(node)] if len(items) > 1 else []
        elif isinstance(node, ast.Compare):
            # `{"fp32", "engine"} <= latency.keys()` asks for an arm of a measurement, not what a precision is like.
            compared = [side for side in (node.left, *node.comparators) if not isinstance(side, ast.Set)]
            among = any(isinstance(op, ast.In | ast.NotIn) for op in node.ops)
            spelt = set().union(*(names_in(side) for side in compared)) - ({"fp32"} if among else set())
            found += [ast.unparse(node)] if spelt else []
    return found


def test_the_search_for_tables_finds_them():
    assert len(tables(ast.parse('X = {"int8": 10.0, "fp16": 30.0}'))) == 1
    assert len(tables(ast.parse('X = ("fp32", "int8")'))) == 1
    assert len(tables(ast.parse('a = p == "int8" or "int8" in target.precisions'))) == 2
    assert tables(ast.parse('place.runs(graph, target, "fp32", None); "fp32" in latency')) == []


@pytest.mark.parametrize("room", ["backends", "calibration", "exporter", "profiles"])
def test_nothing_outside_tells_precisions_apart_by_name(room):
    found = {
        str(path.relative_to(ROOT)): hits
        for path in sorted((ROOT / room).rglob("*.py"))
        if (hits := tables(ast.parse(path.read_text())))
    }
    assert found == {}
