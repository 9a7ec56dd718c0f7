"""An ONNX file as TensorRT's parser reads it, and what is wrong with it.

What differs between TensorRT 8.0 and 11, and in TensorRT-RTX, is found by looking for it, never by comparing versions.
"""

import re
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

from .orders import BuildError


class Rejected(NamedTuple):
    """Why the parser refuses a node; the operator is empty where it does not say."""

    node: str
    reason: str
    operator: str = ""


class ParsedNetwork(NamedTuple):
    """A network and what must live as long as it: the parser owns the weights."""

    trt: Any
    builder: Any
    network: Any
    parser: Any
    accepted: bool
    log: Any
    file: str


_LOGS: Dict[Any, Any] = {}
# What the parser says as it comes to a node, and how it calls its functions for one operator.
_PARSED, _IMPORTS = re.compile(r"Parsing node: (.*) \[(\w+)\]$"), re.compile(r"import([A-Z]\w*)$")


def log_of(trt: Any, saying: Callable[[str], None] = lambda _: None) -> Any:
    """One logger a process and module: TensorRT keeps the first it is given, and ignores others as long as that lives.

    Its `lines` are (severity, message) of warnings, of errors, and of each node as its parsing starts.

    Args:
        saying: is told each node as its parsing starts, for a process that may crash on it.
    """
    if trt in _LOGS:
        return _LOGS[trt]

    def begin(self: Any) -> None:
        trt.ILogger.__init__(self)
        self.lines = []

    def log(self: Any, severity: Any, msg: str) -> None:
        parsing = msg.startswith("Parsing node: ")
        if parsing:
            saying(msg)
        if parsing or severity.name not in ("INFO", "VERBOSE"):
            self.lines.append((severity.name, msg))

    def errors(self: Any) -> str:
        """The last three errors on one line, without the echo that a missing GPU leaves in all of them."""
        said = [plain(text) for severity, text in self.lines if "ERROR" in severity and "catchCudaError" not in text]
        return "; ".join(dict.fromkeys(said[-3:])) or "no reason given"

    # A class statement cannot name a base that is known only once the vendor's module is loaded.
    _LOGS[trt] = type("Log", (trt.ILogger,), {"__init__": begin, "log": log, "errors": errors})()
    return _LOGS[trt]


def plain(line: str) -> str:
    """A line of TensorRT without where in its sources it arose, nor a full stop."""
    return re.sub(r"\s*In \w+ at /[^\s)]+", "", line).strip().rstrip(".")


def parse(trt: Any, path: str, log: Any, weak: bool = False) -> ParsedNetwork:
    """Let the parser read a file, by its path and not by bytes: external data are found beside it.

    Args:
        weak: builder flags choose the precision, instead of the graph's own types.
    """
    del log.lines[:]
    builder = trt.Builder(log)
    network = builder.create_network(creation_flags(trt, weak))
    parser = trt.OnnxParser(network, log)
    accepted = bool(parser.parse_from_file(path))
    return ParsedNetwork(trt, builder, network, parser, accepted, log, path.replace("\\", "/").rpartition("/")[2])


def creation_flags(trt: Any, weak: bool) -> int:
    """EXPLICIT_BATCH is required before 10 and gone in 11; STRONGLY_TYPED came with 10."""
    kinds = getattr(trt, "NetworkDefinitionCreationFlag", None)
    wanted = ["EXPLICIT_BATCH"] + ([] if weak else ["STRONGLY_TYPED"])
    return sum(1 << int(getattr(kinds, name)) for name in wanted if hasattr(kinds, name))


def title_of(trt: Any) -> str:
    """What it is called, with its version."""
    return "{} {}".format("TensorRT-RTX" if trt.__name__ == "tensorrt_rtx" else "TensorRT", trt.__version__)


def rejections(parsed: ParsedNetwork) -> Tuple[Rejected, ...]:
    """The parser's errors, then what it accepts but would compute otherwise than ONNX says; one a node."""
    found: Dict[str, Rejected] = {}
    for one in list(_errors(parsed)) + list(_misread(parsed)):
        found.setdefault(one.node, one)
    return tuple(found.values())


def need_accepted(parsed: ParsedNetwork) -> None:
    """Go on only with a network that computes what the file says.

    Raises:
        BuildError: the first node that is rejected, and how many more there are.
    """
    found = rejections(parsed)
    if found:
        more = " (and {} more)".format(len(found) - 1) if len(found) > 1 else ""
        raise BuildError(
            "refused",
            "{} refuses {}: {}: {}{}.".format(title_of(parsed.trt), parsed.file, found[0].node, found[0].reason, more),
            "Replace the operator in the model, or choose a target whose runtime has it.",
        )


def _errors(parsed: ParsedNetwork) -> Iterator[Rejected]:
    for index in range(parsed.parser.num_errors):
        error = parsed.parser.get_error(index)
        # Before 10 an error knows the number of its node only, and -1 where it concerns the whole file.
        name = error.node_name() if hasattr(error, "node_name") else ""
        operator = (error.node_operator() if hasattr(error, "node_operator") else "") or _imported_by(str(error.func()))
        name = name or (_parsed_last(parsed, operator) if error.node() < 0 else "")
        node = name or ("node {}".format(error.node()) if error.node() >= 0 else parsed.file)
        yield Rejected(node, _reason(error, operator or "of this node"), operator)
    if not parsed.accepted and not parsed.parser.num_errors:
        yield Rejected(parsed.file, parsed.log.errors())
    if parsed.accepted and not parsed.network.num_outputs:
        yield Rejected(parsed.file, "it holds no graph")


def _imported_by(function: str) -> str:
    """The operator that a function of the parser is for, where it is named after one: an error may know no node."""
    found = _IMPORTS.match(function)
    return found.group(1) if found else ""


def _parsed_last(parsed: ParsedNetwork, operator: str) -> str:
    """Name of the node of this operator that the parser came to last; empty where it said of none."""
    at = [_PARSED.match(message) for _, message in parsed.log.lines]
    names = [found.group(1) for found in at if found is not None and found.group(2) == operator]
    return names[-1] if names else ""


def _reason(error: Any, operator: str) -> str:
    text = error.desc()
    # What a parser does not know it takes for a plugin.
    if "Plugin not found" in text or "not found in plugin registry" in text:
        return "TensorRT has no operator " + operator
    if text.strip() == "false":  # an assertion of the parser's that says no more than that it does not hold
        return "TensorRT's parser cannot build operator " + operator
    if "has type Int32" in text:
        return "it dequantizes int32, and TensorRT only 8 bits and fewer: leave the biases of quantized layers float"
    lines = [plain(line) for line in text.splitlines() if "catchCudaError" not in line]
    said = "; ".join(line for line in lines if line and not line.startswith("Invalid Node"))
    return said or str(error.func())


def _misread(parsed: ParsedNetwork) -> Iterator[Rejected]:
    """Q/DQ that the parser takes for INT8 though ONNX says otherwise.

    It only warns of a zero point that is not INT8 (of UINT8 since TensorRT 10.1), and then clips at 127 what should
    reach 255. It says nothing of a QuantizeLinear without zero point, which is UINT8 in ONNX; the network shows that,
    as every parser from 8.0 on passes an INT8 zero point on as the layer's third input (onnx-tensorrt,
    builtin_op_importers.cpp of 8.0-GA, 8.2-GA and 8.5-GA).
    """
    node = ""
    for severity, message in parsed.log.lines:
        started = _PARSED.match(message)
        if started:
            node = started.group(1)
        elif severity == "WARNING" and "zero_point" in message:
            yield Rejected(node, "its zero point is not INT8, but TensorRT reads it so; make it INT8 and 0")
    if not parsed.accepted:
        return
    for layer in layers_of(parsed.network):
        if layer.type.name == "QUANTIZE" and layer.num_inputs < 3 and layer.get_output(0).dtype.name == "INT8":
            yield Rejected(layer.name, "it has no zero point, which means UINT8; give it an INT8 one of 0")


def layers_of(network: Any) -> List[Any]:
    """The layers of a network, in its order."""
    return [network.get_layer(index) for index in range(network.num_layers)]
