"""Grids as data, in schemes of today and in files written before there were any."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgepress.errors import InputError
from edgepress.profiles.device.files import validate
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import Target, load_target

KEPT = Path(__file__).parent / "kept"
WEIGHT = Grid(bits=8, signed=True, symmetric=True, granularity="channel")


@pytest.mark.parametrize(
    ("grid", "dtype", "smallest", "largest", "opset"),
    [
        (Grid(bits=8, signed=True, symmetric=True), "int8", -127, 127, 13),
        (Grid(bits=8, signed=True, symmetric=False), "int8", -128, 127, 13),
        (Grid(bits=8, signed=False, symmetric=False), "uint8", 0, 255, 13),
        (Grid(bits=4, signed=True, symmetric=True), "int4", -7, 7, 21),
        (Grid(bits=4, signed=False, symmetric=False), "uint4", 0, 15, 21),
        (Grid(bits=16, signed=True, symmetric=False), "int16", -32768, 32767, 21),
        (Grid(bits=16, signed=False, symmetric=False), "uint16", 0, 65535, 21),
        (Grid(bits=8, signed=True, symmetric=True, granularity="block", block=32), "int8", -127, 127, 21),
        (Grid(bits=8, signed=True, symmetric=True, used=7), "int8", -63, 63, 13),
    ],
    ids=str,
)
def test_all_follows_from_bits_sign_and_symmetry(grid, dtype, smallest, largest, opset):
    assert (grid.dtype, grid.smallest, grid.largest, grid.opset) == (dtype, smallest, largest, opset)
    assert grid.steps == largest - smallest


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"signed": False, "symmetric": True}, "a symmetric grid is signed"),
        ({"granularity": "block"}, "`block` is given where"),
        ({"block": 32}, "`block` is given where"),
        ({"granularity": "block", "block": 0}, "`block` is 0"),
        ({"used": 9}, "`used` is 9; expected 2 to 8"),
        ({"used": 1}, "`used` is 1; expected 2 to 8"),
    ],
)
def test_what_is_no_grid_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Grid(**{"bits": 8, "signed": True, "symmetric": True, **fields})


def own(tmp_path, **changes):
    """The kept target with other lines in its scheme."""
    lines = (KEPT / "own.toml").read_text().splitlines()
    for name, value in changes.items():
        lines = [line for line in lines if not line.startswith(f"{name} =")]
        lines += [f"{name} = {value}"] if value else []
    path = tmp_path / "changed.toml"
    path.write_text("\n".join(lines))
    return str(path)


def test_a_users_target_of_before_grids_is_read():
    scheme = load_target(str(KEPT / "own.toml")).scheme
    assert (scheme.activation, scheme.weight) == (Grid(bits=8, signed=False, symmetric=False), WEIGHT)


def test_the_same_target_says_it_in_grids(tmp_path):
    grids = {
        "activation": "{ bits = 8, signed = false, symmetric = false }",
        "weight": '{ bits = 8, signed = true, symmetric = true, granularity = "channel" }',
        "symmetric": "",
    }
    assert load_target(own(tmp_path, **grids)) == load_target(str(KEPT / "own.toml"))


def test_the_target_in_a_manifest_of_before_grids_is_read_and_written_with_them():
    data = json.loads((KEPT / "target-of-a-manifest.json").read_text())
    assert data["scheme"]["activation"] == "int8"
    target = validate(Target, data, "a manifest")
    assert target.scheme.activation == Grid(bits=8, signed=True, symmetric=True)
    assert target.scheme.weight == WEIGHT
    today = load_target("jetson")
    # What is known since then of the stand-in, shapes, bytes, suppression and refusals is no part of an old manifest.
    known = {"stand_in_lacks": (), "moves_bytes": True, "shapes": "free", "suppression": "operator"}
    toolchain = dataclasses.replace(today.toolchain, **known)
    scheme = dataclasses.replace(today.scheme, refuses=False)
    assert target == dataclasses.replace(today, toolchain=toolchain, scheme=scheme)
    written = dataclasses.asdict(target)
    assert "symmetric" not in written["scheme"]
    assert validate(Target, json.loads(json.dumps(written)), "a manifest") == target


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": '"int7"'}, "`scheme"),
        ({"symmetric": ""}, "`scheme"),
        ({"symmetric": "true"}, "`scheme.activation`: a symmetric grid is signed."),
        ({"weight": "{ bits = 8, signed = true, symmetric = false }"}, "`scheme`: weights are symmetric."),
        (
            {"weight": '{ bits = 4, signed = true, symmetric = true, granularity = "block", block = 32 }'},
            "an int32 bias needs one weight scale an output channel",
        ),
        (
            {
                "weight": '{ bits = 4, signed = true, symmetric = true, granularity = "block", block = 32 }',
                "bias": '"float"',
            },
            "its scheme (uint8 per tensor, int4 in blocks of 32) needs ONNX opset 21; its toolchain reads 20.",
        ),
    ],
)
def test_a_scheme_that_cannot_be_is_refused_in_words(tmp_path, changes, message):
    with pytest.raises(InputError) as raised:
        load_target(own(tmp_path, **changes))
    assert message in str(raised.value)


def test_activations_have_one_scale():
    scheme = load_target("rtx").scheme
    with pytest.raises(ValueError, match="one scale a tensor"):
        replace(scheme, activation=WEIGHT)
