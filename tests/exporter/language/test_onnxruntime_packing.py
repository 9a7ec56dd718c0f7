"""Integers as onnxruntime's kernels read them: what the kernels make of them is what they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from edgepress.exporter.language.rounding import round_matrix
from edgepress.exporter.language.scales import split
from edgepress.exporter.language.weights import Floats, Integers
from edgepress.exporter.language.writers._packed import PackedBlocks, pack, packed_bytes, stacked

from ._written import blocks

ROWS = 19
GRIDS = [(bits, block, symmetric) for bits in (4, 8) for block in (16, 64, 256) for symmetric in (True, False)]


def drawn(columns: int, bits: int, block: int, symmetric: bool, rows: int = ROWS) -> Integers:
    weight = np.random.default_rng(columns).standard_normal((rows, columns)).astype(np.float32) + np.float32(0.2)
    return round_matrix(weight, blocks(bits, block, symmetric=symmetric))


def run(operator: str, feed: dict[str, Any], packed: PackedBlocks, shape: tuple[int, ...], **attributes: int) -> Floats:
    names = {"codes": packed.codes.reshape(shape), "scales": packed.scales}
    if packed.zeros is not None:
        names["zeros"] = packed.zeros
    order = ["codes", *feed] if operator == "GatherBlockQuantized" else [*feed, "codes"]
    node = helper.make_node(
        operator, [*order, *[n for n in names if n != "codes"]], ["y"], domain="com.microsoft", **attributes
    )
    from onnx import numpy_helper

    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feed.items()],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in names.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed)[0])


@pytest.mark.parametrize("columns", [64, 100, 300])
@pytest.mark.parametrize(("bits", "block", "symmetric"), GRIDS)
def test_a_product_and_a_table_read_the_same_bytes(bits: int, block: int, symmetric: bool, columns: int) -> None:
    integers = drawn(columns, bits, block, symmetric)
    packed, grid = pack(integers), integers.grid
    x = np.random.default_rng(0).standard_normal((1, 5, columns)).astype(np.float32)
    product = run("MatMulNBits", {"x": x}, packed, packed.codes.shape, K=columns, N=ROWS, bits=bits, block_size=block)
    want = x @ integers.floats().T
    assert np.abs(product - want).max() < 1e-5 * np.abs(want).max()
    places = np.array([[3, 0, ROWS - 1]])
    rows = run(
        "GatherBlockQuantized",
        {"places": places},
        packed,
        (ROWS, packed.codes[0].size),
        bits=bits,
        block_size=block,
        gather_axis=0,
        quantize_axis=1,
    )
    np.testing.assert_allclose(rows[..., :columns], integers.floats()[places], rtol=1e-6, atol=1e-7)
    parts = [part for part in (packed.codes, packed.zeros, *split(packed.scales)) if part is not None]
    assert sum(part.nbytes for part in parts) == packed_bytes(ROWS, columns, grid)


def test_matrices_of_one_grid_are_stacked_and_others_are_not() -> None:
    one, two = drawn(64, 4, 32, False), drawn(64, 4, 32, False, rows=7)
    both = stacked([one, two])
    assert isinstance(both, Integers)
    np.testing.assert_array_equal(both.floats(), np.concatenate([one.floats(), two.floats()]))
    assert stacked([one, drawn(64, 8, 32, False)]) is None
    assert stacked([one, drawn(64, 4, 32, True)]) is None
    assert stacked([one, two.floats()]) is None
    floats = stacked([one.floats(), two.floats()])
    np.testing.assert_array_equal(floats, both.floats())
