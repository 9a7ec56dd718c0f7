"""What torch's exporter asks of each operator that it could translate, without what nobody reads of the answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def domains_at_hand() -> Iterator[None]:
    """Inside, a function of onnxscript's torchlib tells its domain without its source being parsed.

    At each export all 500 of them are asked for `function_ir.domain`, and for nothing else of it; each answer reads,
    tokenizes and parses a file's source (onnxscript 0.7, torch 2.13: 0.4 s of processor time an export).
    """
    from onnxscript import values

    kind: Any = getattr(values, "TracedOnnxFunction", None)
    parsed = None if kind is None else kind.__dict__.get("function_ir")
    if not isinstance(parsed, property):
        yield
        return
    kind.function_ir = property(lambda function: _Signature(function, parsed))
    try:
        yield
    finally:
        kind.function_ir = parsed


class _Signature:
    """Stands for what the parser makes of a function; parsed when more than the domain is asked for."""

    def __init__(self, function: Any, parsed: property) -> None:
        self._function, self._parsed = function, parsed

    @property
    def domain(self) -> str:
        """That of the opset which the function belongs to, as the parser has it."""
        return str(self._function.opset.domain)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parsed.__get__(self._function), name)
