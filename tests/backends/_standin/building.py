"""What stands for parsing a model and building an engine of it: a plan is the graph with what was asked."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from .release import KINDS, Real

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
            kind = KINDS[np.dtype(onnx.helper.tensor_dtype_to_np_dtype(one.data_type)).name]
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
