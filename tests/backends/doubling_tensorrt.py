"""A stand-in for the module `tensorrt` of TensorRT 8.0 on a Python without any package: y is x + x, in host memory.

It is neither TensorRT nor an imitation of its builder; it shows that `build.py` runs on an old Python from end to end.
It keeps to the syntax of Python 3.6.
"""

import ctypes
import enum
import os

__version__ = "8.0.1.6"
BuilderFlag = enum.IntEnum("BuilderFlag", "FP16 INT8 TF32 STRICT_TYPES GPU_FALLBACK SPARSE_WEIGHTS")
NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", start=0)
ProfilingVerbosity = enum.IntEnum("ProfilingVerbosity", "DEFAULT NONE VERBOSE")
DataType = enum.IntEnum("DataType", "FLOAT HALF INT8 INT32 BOOL")


class ILogger:
    Severity = enum.IntEnum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")


class Builder:
    num_DLA_cores = 0  # noqa: N815

    def __init__(self, log):
        pass

    def create_network(self, flags):
        assert flags == 1
        return Network()

    def create_builder_config(self):
        return Config()

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        return b"plan"


class Network:
    num_layers, num_outputs = 0, 1


class Profile:
    def set_shape(self, name, *ends):
        assert len(ends) == 3


class Cache:
    def serialize(self):
        return b"times"


class Config:
    max_workspace_size, profiling_verbosity = 0, None

    def __init__(self):
        self._set = set()

    def set_flag(self, flag):
        self._set.add(flag)

    def clear_flag(self, flag):
        self._set.discard(flag)

    def get_flag(self, flag):
        return flag in self._set

    def add_optimization_profile(self, profile):
        return 0

    def create_timing_cache(self, data):
        return Cache()

    def set_timing_cache(self, cache, ignore_mismatch):
        return True

    def get_timing_cache(self):
        return Cache()


class OnnxParser:
    num_errors = 0

    def __init__(self, network, log):
        pass

    def parse_from_file(self, path):
        return True


class Runtime:
    num_DLA_cores = 0  # noqa: N815

    def __init__(self, log):
        pass

    def deserialize_cuda_engine(self, data):
        return Plan() if data == b"plan" else None


class Plan:
    num_bindings = 2

    def get_binding_name(self, index):
        return os.environ.get("DOUBLING_NAMES", "x,y").split(",")[index]

    def get_binding_dtype(self, index):
        return DataType.FLOAT

    def binding_is_input(self, index):
        return index == 0

    def create_execution_context(self):
        return Context()


class Context:
    shape = ()

    def set_binding_shape(self, index, shape):
        self.shape = tuple(shape)
        return True

    def get_binding_shape(self, index):
        return self.shape

    def execute_async_v2(self, bindings, stream_handle):
        count = 1
        for size in self.shape:
            count *= size
        kind = ctypes.c_float * count
        x, y = (kind.from_address(address) for address in bindings)
        for i in range(count):
            y[i] = x[i] + x[i]
        return True
