"""A stand-in for the Python module of a TensorRT release: it is none, and builds nothing that runs on a GPU.

It has the names that the release's table records (`tensorrt_api/`, from the sources of the bindings) and no others:
what a release lacks raises AttributeError here as it does there, and so does setting what cannot be set. Behind them is
an imitation of what the documentation says: the parser makes layers of an ONNX file, the builder notes what it was
asked for, an engine computes by onnxruntime in host memory. What it shows is that a program asks each release only for
what it has, in an order that makes sense. The real parser and builder are TensorRT-RTX's, in other tests.
"""

from __future__ import annotations

import base64
import ctypes
import enum
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

TABLES = Path(__file__).parent / "tensorrt_api"
RELEASES = ("8.0", "8.2", "8.5", "8.6", "10.3", "10.13", "10.16", "11.1")
_TYPES = {
    "Conv": "CONVOLUTION",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Relu": "ACTIVATION",
    "Add": "ELEMENTWISE",
    "MatMul": "MATRIX_MULTIPLY",
    "Gemm": "MATRIX_MULTIPLY",
    "MaxPool": "POOLING",
}
_KINDS = {"float32": "FLOAT", "float16": "HALF", "int8": "INT8", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}


@dataclass
class World:
    """What this TensorRT cannot do, and what was asked of it.

    Attributes:
        no_kernel: regions without an integer kernel, by the layer that computes.
        never: a layer that has no kernel for floats either.
        dla_refuses: why the DLA does not take a layer.
    """

    no_kernel: dict[str, str] = field(default_factory=dict)
    never: str = ""
    dla_cores: int = 0
    dla_refuses: dict[str, str] = field(default_factory=dict)
    builds: list[dict[str, Any]] = field(default_factory=list)


def module(release: str, world: World | None = None, name: str = "tensorrt") -> ModuleType:
    """The module of a release."""
    table = json.loads((TABLES / f"{release}.json").read_text())
    return _Module(name, table, World() if world is None else world).made


class _Module:
    def __init__(self, name: str, table: dict[str, Any], world: World) -> None:
        self.table, self.world = table, world
        self.made = ModuleType(name, "a stand-in, not TensorRT")
        self.made.__version__ = table["release"]  # type: ignore[attr-defined]
        self.enums = {}
        for kind, names in table["enums"].items():
            self.enums[kind] = enum.IntEnum(kind, {member: i for i, member in enumerate(names)})
            setattr(self.made, kind, self.enums[kind])
        severity = enum.IntEnum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")
        self.made.ILogger = type("ILogger", (), {"Severity": severity, "log": lambda self, severity, msg: None})  # type: ignore[attr-defined]
        self.facades = {kind: _facade(kind, members, self) for kind, members in table["classes"].items()}
        for kind, made in (("Builder", Builder), ("OnnxParser", Parser), ("Runtime", Runtime)):
            setattr(self.made, kind, self._constructor(made))

    def _constructor(self, made: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: self.shown(made(self, *map(self.real, given)))

    @property
    def major(self) -> int:
        return int(self.table["release"].split(".")[0])

    def shown(self, value: Any) -> Any:
        stands_for = getattr(type(value), "stands_for", None)
        return self.facades[stands_for](value) if stands_for else value

    def real(self, value: Any) -> Any:
        return getattr(value, "_real", value)

    def say(self, log: Any, severity: str, text: str) -> None:
        log.log(getattr(self.made.ILogger.Severity, severity), text)


def _facade(kind: str, members: dict[str, Any], of: _Module) -> type:
    """A class with the members that the table has, and nothing that could be set besides them."""

    def begin(self: Any, real: Any) -> None:
        object.__setattr__(self, "_real", real)

    body: dict[str, Any] = {"__slots__": ("_real",), "__init__": begin}
    for name, said in members.items():
        body[name] = _property(name, said, of) if isinstance(said, str) else _method(kind, name, said, of)
    if kind == "IHostMemory":
        body["__bytes__"] = lambda self: self._real.data
    return type(kind, (), body)


def _property(name: str, said: str, of: _Module) -> property:
    def read(self: Any) -> Any:
        return of.shown(getattr(self._real, name))

    def write(self: Any, value: Any) -> None:
        setattr(self._real, name, of.real(value))

    return property(read, write if said == "write" else None)


def _method(kind: str, name: str, arguments: list[str], of: _Module) -> Callable[..., Any]:
    def call(self: Any, *given: Any) -> Any:
        least = sum(not argument.endswith("?") for argument in arguments)
        if arguments and not least <= len(given) <= len(arguments):
            raise TypeError(f"{kind}.{name} takes {arguments}, and is given {len(given)}")
        return of.shown(getattr(self._real, name)(*map(of.real, given)))

    return call


class Real:
    stands_for = ""

    def __init__(self, of: _Module, *given: Any) -> None:
        self.of = of
        self.begin(*given)

    def begin(self, *given: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotImplementedError(f"{type(self).__name__}.{name}: the stand-in does not imitate it")


class HostMemory(Real):
    stands_for = "IHostMemory"

    def begin(self, data: bytes) -> None:
        self.data = data


class Tensor(Real):
    stands_for = "ITensor"

    def begin(self, name: str, kind: str) -> None:
        self.name, self.dtype = name, self.of.enums["DataType"][kind]


class Layer(Real):
    stands_for = "ILayer"

    def begin(self, name: str, kind: str, inputs: list[Tensor | None], outputs: list[Tensor]) -> None:
        self.name, self.type = name, self.of.enums["LayerType"][kind]
        self.inputs, self.outputs = inputs, outputs
        self.num_inputs, self.num_outputs = len(inputs), len(outputs)
        self.precision, self.precision_is_set = None, False

    def get_input(self, index: int) -> Tensor | None:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]

    def set_input(self, index: int, tensor: Tensor) -> None:
        self.inputs[index] = tensor


class Network(Real):
    stands_for = "INetworkDefinition"

    def begin(self, flags: int) -> None:
        known = self.of.enums["NetworkDefinitionCreationFlag"]
        assert flags < 1 << (max(known) + 1), "an unknown creation flag"
        self.flags = {member.name for member in known if flags >> member & 1}
        self.layers: list[Layer] = []
        self.path, self.num_outputs, self.free = "", 0, set[str]()

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]


class Parser(Real):
    stands_for = "OnnxParser"

    def begin(self, network: Network, log: Any) -> None:
        self.network, self.log, self.num_errors = network, log, 0

    def parse_from_file(self, model: str) -> bool:
        import onnx

        if self.of.major < 10 and "EXPLICIT_BATCH" not in self.network.flags:
            self.of.say(self.log, "ERROR", "In function importModel: the network has an implicit batch")
            return False
        graph, network = onnx.load(model).graph, self.network
        network.path, network.num_outputs = model, len(graph.output)
        network.free = {v.name for v in graph.input if any(d.dim_param for d in v.type.tensor_type.shape.dim)}
        made = {value.name: Tensor(self.of, value.name, "FLOAT") for value in graph.input}
        for one in graph.initializer:
            kind = _KINDS[np.dtype(onnx.helper.tensor_dtype_to_np_dtype(one.data_type)).name]
            known = self.of.enums["DataType"].__members__
            made[one.name] = Tensor(self.of, one.name, kind if kind in known else "INT32")
            network.layers.append(Layer(self.of, one.name, "CONSTANT", [], [made[one.name]]))
        for node in graph.node:
            self.of.say(self.log, "VERBOSE", f"Parsing node: {node.name} [{node.op_type}]")
            kind = "INT8" if node.op_type == "QuantizeLinear" else "FLOAT"
            made.update({name: Tensor(self.of, name, kind) for name in node.output})
            inputs, outputs = [made[name] for name in node.input], [made[name] for name in node.output]
            network.layers.append(Layer(self.of, node.name, _TYPES.get(node.op_type, "SHUFFLE"), inputs, outputs))
        return True


class Profile(Real):
    stands_for = "IOptimizationProfile"

    def begin(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, name: str, *ends: tuple[int, ...]) -> None:
        self.shapes[name] = [tuple(end) for end in ends]


class TimingCache(Real):
    stands_for = "ITimingCache"

    def begin(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> HostMemory:
        return HostMemory(self.of, self.data)


class Config(Real):
    stands_for = "IBuilderConfig"

    def begin(self, builder: Builder) -> None:
        self.builder, self.flags_set = builder, {self.of.enums["BuilderFlag"].TF32}
        self.profiles: list[Profile] = []
        self.pools: dict[str, int] = {}
        self.max_workspace_size, self.profiling_verbosity, self.DLA_core = 0, None, -1
        self.default_device_type = self.of.enums["DeviceType"].GPU
        self.cache: TimingCache | None = None

    def set_flag(self, flag: Any) -> None:
        self.flags_set.add(self.of.enums["BuilderFlag"](flag))

    def clear_flag(self, flag: Any) -> None:
        self.flags_set.discard(flag)

    def get_flag(self, flag: Any) -> bool:
        return flag in self.flags_set

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self.pools[pool.name] = pool_size

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, data: bytes) -> TimingCache | None:
        if data and not data.startswith(f"times of {self.of.table['release']}".encode()):
            self.of.say(self.builder.log, "WARNING", "The timing cache is of another version")
            return None
        return TimingCache(self.of, data or f"times of {self.of.table['release']}:".encode())

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self.cache

    def can_run_on_DLA(self, layer: Layer) -> bool:
        why = self.of.world.dla_refuses.get(layer.name)
        if why:
            self.of.say(self.builder.log, "WARNING", why)
        return not why and layer.type.name in ("CONVOLUTION", "ACTIVATION", "ELEMENTWISE")


class Builder(Real):
    stands_for = "Builder"

    def begin(self, log: Any) -> None:
        self.log, self.num_DLA_cores = log, self.of.world.dla_cores

    def create_network(self, flags: int = 0) -> Network:
        return Network(self.of, flags)

    def create_builder_config(self) -> Config:
        return Config(self.of, self)

    def create_optimization_profile(self) -> Profile:
        return Profile(self.of)

    def build_serialized_network(self, network: Network, config: Config) -> HostMemory | None:
        made_by = {tensor.name: layer for layer in network.layers for tensor in layer.outputs}
        reads = {
            layer.name: [made_by[one.name].type.name if one.name in made_by else "INPUT" for one in layer.inputs if one]
            for layer in network.layers
        }
        flags = {flag.name for flag in config.flags_set}
        if why := self._refused(network, config, flags, reads):
            self.of.say(self.log, "ERROR", why)
            return None
        if config.cache is not None:
            config.cache.data += b"x"
        on_dla = config.default_device_type.name == "DLA"
        plan = {
            "release": self.of.table["release"],
            "graph": base64.b64encode(Path(network.path).read_bytes()).decode(),
            "typed": sorted(network.flags),
            "flags": sorted(flags),
            "detail": config.profiling_verbosity.name,
            "workspace": config.pools.get("WORKSPACE", config.max_workspace_size),
            "ranges": config.profiles[0].shapes if config.profiles else {},
            "dla": config.DLA_core if on_dla else None,
            "layers": [
                {"name": layer.name, "type": layer.type.name, "reads": reads[layer.name]} for layer in network.layers
            ],
        }
        self.of.world.builds.append(plan)
        return HostMemory(self.of, json.dumps(plan).encode())

    def _refused(self, network: Network, config: Config, flags: set[str], reads: dict[str, list[str]]) -> str:
        strong = "STRONGLY_TYPED" in network.flags or self.of.major >= 11
        if not strong and "INT8" not in flags and any(layer.type.name == "QUANTIZE" for layer in network.layers):
            return "4: [network.cpp::validate::2789] Error Code 4: Internal Error (Int8 precision has not been set)"
        if network.free - set(config.profiles[0].shapes if config.profiles else ()):
            return "4: [network.cpp::validate::3015] Error Code 4: Internal Error (no optimization profile)"
        for name, region in self.of.world.no_kernel.items():
            if reads[name][0] == "DEQUANTIZE" or name == self.of.world.never:
                # The forms of 8.5 (NVIDIA/TensorRT, issue 3385) and of 10.
                found = f"Could not find any implementation for node {region}."
                if self.of.major < 10:
                    return f"10: [optimizer.cpp::computeCosts::3728] Error Code 10: Internal Error ({found})"
                return f"Error Code 10: Internal Error ({found} In computeCosts at /_src/optimizer/optimizer.cpp:4115)"
        return ""


class Runtime(Real):
    stands_for = "Runtime"

    def begin(self, log: Any) -> None:
        self.log, self.DLA_core, self.num_DLA_cores = log, -1, self.of.world.dla_cores

    def deserialize_cuda_engine(self, data: bytes) -> Plan | None:
        plan = json.loads(bytes(data))
        if plan["release"] != self.of.table["release"]:
            self.of.say(self.log, "ERROR", "The engine plan file is not compatible with this version of TensorRT")
            return None
        assert plan["dla"] is None or plan["dla"] == self.DLA_core
        return Plan(self.of, plan)


class Plan(Real):
    stands_for = "ICudaEngine"

    def begin(self, plan: dict[str, Any]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.plan = plan
        self.session = onnxruntime.InferenceSession(
            base64.b64decode(plan["graph"]), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {one.name: _dtype(one.type) for one in self.session.get_inputs()}
        self.outputs = {one.name: _dtype(one.type) for one in self.session.get_outputs()}
        self.names = [*self.inputs, *self.outputs]
        self.num_io_tensors = self.num_bindings = len(self.names)

    def held(self, name: str) -> np.dtype[Any]:
        """The type on the device: there is no int64 before 10."""
        kind = {**self.inputs, **self.outputs}[name]
        return np.dtype(np.int32) if kind == np.int64 and self.of.major < 10 else kind

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return self.of.enums["DataType"][_KINDS[self.held(name).name]]

    def get_tensor_mode(self, name: str) -> Any:
        return self.of.enums["TensorIOMode"]["INPUT" if name in self.inputs else "OUTPUT"]

    get_binding_name = get_tensor_name

    def get_binding_dtype(self, index: int) -> Any:
        return self.get_tensor_dtype(self.names[index])

    def binding_is_input(self, index: int) -> bool:
        return self.names[index] in self.inputs

    def create_execution_context(self) -> Context:
        return Context(self.of, self)

    def create_engine_inspector(self) -> Inspector:
        return Inspector(self.of, self)


class Context(Real):
    stands_for = "IExecutionContext"

    def begin(self, plan: Plan) -> None:
        self.plan = plan
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = tuple(shape)
        low, _, high = self.plan.plan["ranges"].get(name, (shape, shape, shape))
        return all(least <= size <= most for least, size, most in zip(low, shape, high, strict=True))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        feed = {key: np.zeros(self.shapes[key], kind) for key, kind in self.plan.inputs.items()}
        return tuple(self.plan.session.run([name], feed)[0].shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        feed = {key: self._read(key).astype(kind) for key, kind in self.plan.inputs.items()}
        for name, array in zip(self.plan.outputs, self.plan.session.run(list(self.plan.outputs), feed), strict=True):
            data = np.ascontiguousarray(array.astype(self.plan.held(name))).tobytes()
            ctypes.memmove(self.addresses[name], data, len(data))
        return bool(stream_handle)

    def _read(self, name: str) -> np.ndarray:
        kind, shape = self.plan.held(name), self.shapes[name]
        data = ctypes.string_at(self.addresses[name], int(np.prod(shape)) * kind.itemsize)
        return np.frombuffer(data, kind).reshape(shape)

    def set_binding_shape(self, index: int, shape: tuple[int, ...]) -> bool:
        return self.set_input_shape(self.plan.names[index], shape)

    def get_binding_shape(self, index: int) -> tuple[int, ...]:
        return self.get_tensor_shape(self.plan.names[index])

    def execute_async_v2(self, bindings: list[int], stream_handle: int) -> bool:
        self.addresses = dict(zip(self.plan.names, bindings, strict=True))
        return self.execute_async_v3(stream_handle)


class Inspector(Real):
    stands_for = "EngineInspector"

    def begin(self, plan: Plan) -> None:
        self.plan, self.execution_context = plan, None

    def get_engine_information(self, format: Any) -> str:
        assert self.execution_context is not None
        assert format.name == "JSON"
        return json.dumps({"Layers": [self._layer(one) for one in self.plan.plan["layers"]], "Bindings": []})

    def _layer(self, layer: dict[str, Any]) -> dict[str, Any]:
        computes = layer["type"] == "CONVOLUTION"
        integer = computes and layer["reads"][0] == "DEQUANTIZE"
        other = "f16f16_f16f16_f16" if "FP16" in self.plan.plan["flags"] else "f32f32_f32f32_f32"
        return {
            "Name": layer["name"],
            "LayerType": "CaskConvolution" if computes else "PointWiseV2",
            "Inputs": [{"Name": "t", "Format/Datatype": "Int8" if integer else "Row major linear FP32"}],
            "TacticName": f"sm80_xmma_fprop_{'i8i8_i8i32_f32' if integer else other}_nhwc" if computes else "",
        }


def _dtype(text: str) -> np.dtype[Any]:
    names = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(int32)": "int32", "tensor(bool)": "bool"}
    return np.dtype(names[text])
