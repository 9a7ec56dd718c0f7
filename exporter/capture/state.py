"""State that a model keeps between calls: no graph has it, so it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InputError

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node


class NoGraphError(InputError):
    """No graph is the model, whatever exporter makes it."""


_OVERWRITING = ("aten.copy.", "aten.fill.", "aten.zeros_like.", "aten.ones_like.", "aten.full_like.")
# What a norm keeps of the batches it is trained with.
_RUNNING = ("running_mean", "running_var", "num_batches_tracked")
_TRAINING = "That norm is in training mode: leave out .train() in forward, so that it stays in evaluation mode."
_PASS_ON = "Make it an input and an output of forward, and pass it on from call to call."


def refuse_state(program: ExportedProgram, name: str) -> None:
    """A buffer that forward changes, and that an output depends on, would be frozen at its value of today.

    A counter that nothing reads, or a buffer that is written before it is read, is no state.

    Args:
        program: made functional by `run_decompositions`; before that, its signature does not tell.
        name: of the model, for the message.

    Raises:
        InputError: there is such a buffer, or an input that forward changes in place.
    """
    signature = program.graph_signature
    changed = set(signature.buffers_to_mutate.values())
    kept = [
        str(node.name)
        for node in program.graph.nodes
        if signature.inputs_to_buffers.get(node.name) in changed and _reaches(node, set(signature.user_outputs))
    ]
    buffers = sorted(signature.inputs_to_buffers[node] for node in kept)
    inputs = sorted(signature.user_inputs_to_mutate.values())
    if buffers or inputs:
        what = " and ".join(
            words
            for words in (
                f"the buffer {', '.join(buffers)}" if buffers else "",
                f"the input {', '.join(inputs)}" if inputs else "",
            )
            if words
        )
        raise NoGraphError(
            f"{name} keeps state: its forward changes {what} in place, and an engine keeps nothing between calls.",
            hint=_TRAINING if not inputs and all(b.endswith(_RUNNING) for b in buffers) else _PASS_ON,
        )


def _reaches(node: Node, outputs: set[str]) -> bool:
    """Whether an output is computed from the node's value."""
    seen: set[Node] = set()
    pending = [node]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        if current.name in outputs:
            return True
        pending.extend(user for user in current.users if not _overwrites(user, current))
    return False


def _overwrites(node: Node, value: Node) -> bool:
    """The node takes only the shape of the value: `buffer.copy_(x)` is x."""
    written = str(node.target).startswith(_OVERWRITING)
    return written and node.args[:1] == (value,) and value not in node.args[1:]
