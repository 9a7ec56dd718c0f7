"""Matrices in onnxruntime's file of weights, and products with them.

onnxruntime makes short scales of their parts when it opens the file. Those of all matrices with as many blocks in a row
are made at once: one by one they left 18 MB of holes in the heap behind SmolLM2-135M.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..decoder import Linear
from ..scales import split
from ..weights import DecoderWeights, Floats, Integers, Matrix
from ._onnx_graph import MICROSOFT, GraphFile
from ._packed import PackedBlocks, pack, stacked

_FLOAT = 1  # ONNX's number of float32


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMatrix:
    """A matrix in the file.

    Attributes:
        tensors: name of the floats; of integers, those of codes, scales and, of an asymmetric grid, zeros.
        rows, columns: of the matrix.
        bits, block, blocks: of integers, and how many blocks a row has; 0 of floats.
    """

    tensors: tuple[str, ...]
    rows: int
    columns: int
    bits: int = 0
    block: int = 0
    blocks: int = 0


class Matrices:
    """Stores matrices as they are asked for.

    Args:
        accuracy: `accuracy_level` of products with integers.
        advance: told how many weights were stored, as they are.
    """

    def __init__(
        self, weights: DecoderWeights, graph: GraphFile, accuracy: int, advance: Callable[[int], None]
    ) -> None:
        self._weights, self._graph, self._accuracy, self._advance = weights, graph, accuracy, advance
        self._short: dict[int, dict[str, tuple[npt.NDArray[np.int8], Floats]]] = {}

    def settle(self) -> None:
        """Write the short scales of all matrices: one product for each number of blocks in a row."""
        for blocks, scales in self._short.items():
            name = f"scales.{blocks}"
            steps, factors = (np.concatenate(parts) for parts in zip(*scales.values(), strict=True))
            rows = self._graph.constant(f"{name}.rows", np.array([len(each) for each, _ in scales.values()], np.int64))
            floats = self._graph.node("Cast", [self._graph.stored(f"{name}.steps", steps)], first=True, to=_FLOAT)
            floats = self._graph.node("Mul", [floats, self._graph.stored(f"{name}.factors", factors)], first=True)
            self._graph.node("Split", [floats, rows], outputs=[*scales], first=True, axis=0)
        self._short = {}

    def store(self, name: str, matrix: Matrix) -> StoredMatrix:
        """Write a matrix into the file."""
        if isinstance(matrix, Integers):
            stored = self._store_integers(name, pack(matrix))
        else:
            rows, columns = matrix.shape
            stored = StoredMatrix(tensors=(self._graph.stored(name, matrix),), rows=rows, columns=columns)
        self._advance(stored.rows * stored.columns)
        return stored

    def linear(self, x: str, linear: Linear, stored: StoredMatrix | None = None) -> str:
        """The product with a layer's weight, which is stored unless it is already, and its bias."""
        if stored is None:
            stored = self.store(f"{linear.name}.weight", self._weights.matrix(linear))
        bias = None if linear.bias is None else self._weights.array(linear.bias)
        return self._product(x, stored, bias, linear.name)

    def together(self, x: str, linears: Sequence[Linear], name: str) -> str | None:
        """One product with the weights of several layers, side by side; None where they do not share a grid."""
        matrix = stacked([self._weights.matrix(linear) for linear in linears])
        if matrix is None:
            return None
        bias = None
        if any(linear.bias is not None for linear in linears):
            bias = np.concatenate([self._bias(linear) for linear in linears])
        return self._product(x, self.store(f"{name}.weight", matrix), bias, name)

    def rows(self, table: StoredMatrix, ids: str, name: str, *, shared: bool) -> str:
        """Rows of a table in float32.

        Args:
            shared: a product takes the table, too.
        """
        if not table.bits:
            return self._graph.node("Gather", [table.tensors[0], ids], name=name)
        codes, *others = table.tensors
        width = table.blocks * table.block
        again = f"{codes}.rows" if shared else codes
        self._graph.again(again, codes, (table.rows, width * table.bits // 8))
        rows = self._graph.node(
            "GatherBlockQuantized",
            [again, ids, *others],
            name=name,
            domain=MICROSOFT,
            bits=table.bits,
            block_size=table.block,
            gather_axis=0,
            quantize_axis=1,
        )
        return rows if width == table.columns else self._first(rows, table.columns)

    def _bias(self, linear: Linear) -> Floats:
        if linear.bias is None:
            return np.zeros(linear.outputs, dtype=np.float32)
        return self._weights.array(linear.bias)

    def _store_integers(self, name: str, packed: PackedBlocks) -> StoredMatrix:
        rows, blocks = packed.scales.shape
        tensors = [self._graph.stored(name, packed.codes), self._store_scales(f"{name}.scales", packed.scales)]
        if packed.zeros is not None:
            tensors.append(self._graph.stored(f"{name}.zeros", packed.zeros))
        block = packed.grid.block or packed.inputs
        return StoredMatrix(
            tensors=tuple(tensors), rows=rows, columns=packed.inputs, bits=packed.grid.bits, block=block, blocks=blocks
        )

    def _store_scales(self, name: str, scales: Floats) -> str:
        """Short scales wait for those of the other matrices."""
        if (parts := split(scales)) is None:
            return self._graph.stored(name, scales)
        self._short.setdefault(scales.shape[1], {})[name] = parts
        return name

    def _product(self, x: str, stored: StoredMatrix, bias: Floats | None, name: str) -> str:
        shift = "" if bias is None else self._graph.stored(f"{name}.bias", bias)
        if stored.bits:
            return self._integer_product(x, stored, shift, name)
        # FusedMatMul takes weights as checkpoints have them, (outputs, inputs), and packs them as MatMul does.
        inputs = [x, stored.tensors[0]]
        product = self._graph.node("FusedMatMul", inputs, name=name, domain=MICROSOFT, transB=1)
        return self._graph.node("Add", [product, shift], name=f"{name}.shifted") if shift else product

    def _integer_product(self, x: str, stored: StoredMatrix, shift: str, name: str) -> str:
        inputs = [x, *stored.tensors]
        if shift:
            inputs += [""] * (5 - len(inputs)) + [shift]
        return self._graph.node(
            "MatMulNBits",
            inputs,
            name=name,
            domain=MICROSOFT,
            K=stored.columns,
            N=stored.rows,
            bits=stored.bits,
            block_size=stored.block,
            accuracy_level=self._accuracy,
        )

    def _first(self, x: str, columns: int) -> str:
        """The first columns of the last axis."""
        bounds = [self._graph.integers([value]) for value in (0, columns, -1)]
        return self._graph.node("Slice", [x, *bounds])
