"""A graph run piece by piece, on several feeds at once, so that what came before may change each piece."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Array, Feed
from ...backends.places.as_written import AsWritten
from .files import write_model

if TYPE_CHECKING:
    import onnx_ir as ir


class Walk:
    """Goes from node to node of a graph without bodies, each node being computed once."""

    def __init__(self, model: ir.Model, feeds: Sequence[Feed], path: Path) -> None:
        """Stand before the first node.

        Args:
            model: its nodes in an order in which they can be computed.
            path: a file for the pieces, one after the other.
        """
        self._model, self._path = model, path
        self._nodes = list(model.graph)
        self._place = {node: place for place, node in enumerate(self._nodes)}
        self._known: list[dict[str, Array]] = [dict(feed) for feed in feeds]
        self._next = 0

    def until(self, node: ir.Node) -> list[Array]:
        """Compute the nodes up to this one; its first result for each feed, which may be changed in place.

        Args:
            node: behind all that were asked for.
        """
        end = self._place[node] + 1
        piece, self._next = self._nodes[self._next : end], end
        made = [value for each in piece for value in each.outputs]
        kept = [value for value in made if value is node.outputs[0] or self._is_read(value)]
        read = dict.fromkeys(value for each in piece for value in each.inputs if value is not None)
        self._run(piece, [value for value in read if value not in made], kept)
        for known in self._known:
            for value in [*read, *made]:
                if value is not node.outputs[0] and not self._is_read(value):
                    known.pop(str(value.name), None)
        return [known[str(node.outputs[0].name)] for known in self._known]

    def _is_read(self, value: ir.Value) -> bool:
        """Whether a node to come reads it."""
        return any(self._place[use.node] >= self._next for use in value.uses())

    def _run(self, piece: Sequence[ir.Node], read: Sequence[ir.Value], wanted: Sequence[ir.Value]) -> None:
        import onnx_ir as ir

        constants, given = ([v for v in read if v.is_initializer() is kind] for kind in (True, False))
        opsets = self._model.graph.opset_imports
        graph = ir.GraphView(given, wanted, nodes=piece, initializers=constants, opset_imports=opsets).clone()
        for value in graph.inputs:
            array = self._known[0][str(value.name)]
            value.type, value.shape = ir.TensorType(ir.DataType.from_numpy(array.dtype)), ir.Shape([None] * array.ndim)
        write_model(ir.Model(graph, ir_version=self._model.ir_version), self._path)
        # A piece runs once a feed, so that optimizing it would take longer than it saves.
        with AsWritten(self._path) as run:
            for known in self._known:
                known.update(run({str(value.name): known[str(value.name)] for value in given}))
