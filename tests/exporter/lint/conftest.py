from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

from ._net import Net, int8_net


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Net]:
    """A fresh copy of the network in a target's int8, each made once."""
    made: dict[str, onnx.ModelProto] = {}

    def get(target: str, **changed: object) -> Net:
        key = f"{target} {changed}"
        if key not in made:
            made[key] = int8_net(target, tmp_path_factory.mktemp("int8"), **changed).model
        copy = onnx.ModelProto()
        copy.CopyFrom(made[key])
        return Net(copy)

    return get
