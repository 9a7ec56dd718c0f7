"""A function of torchlib tells its domain without being parsed, and the same one."""

from __future__ import annotations

from edgepress.exporter.capture.from_torch.torchlib import domains_at_hand


def test_it_is_what_the_parser_says_and_all_else_is_parsed() -> None:
    from onnxscript import values
    from onnxscript.function_libs.torch_lib import ops, registration

    assert ops
    overloads = [one for entry in registration.default_registry.values() for one in (*entry.overloads, *entry.complex)]
    functions = [one for one in overloads if isinstance(one, values.TracedOnnxFunction)]
    parsed = values.TracedOnnxFunction.function_ir
    some = functions[::10]
    domains, names = [one.function_ir.domain for one in some], [one.function_ir.name for one in some]
    with domains_at_hand():
        assert values.TracedOnnxFunction.function_ir is not parsed
        assert [one.function_ir.domain for one in some] == domains
        assert [one.function_ir.name for one in some] == names
        assert {one.function_ir.domain for one in functions} == set(domains)
    assert values.TracedOnnxFunction.function_ir is parsed, "it is as it was before"
