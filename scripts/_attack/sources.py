"""Model files and keys that the attacks begin with."""

from __future__ import annotations

SEARCHED = """
import numpy as np
import torch
from torch import nn


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))


def inputs():
    return {"input": torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))}


def dynamic():
    return {"input": {0: "batch"}}


def batch(index):
    return np.random.default_rng(index).random((4, 1, 8, 8), dtype=np.float32)


def calibration():
    return ({"input": batch(index)} for index in range(4))


def evaluate(predict):
    x = np.concatenate([batch(i) for i in range(20, 30)])
    with torch.no_grad():
        wanted = model().eval()(torch.from_numpy(x)).argmax(1).numpy()
    return float((next(iter(predict({"input": x}).values())).argmax(1) == wanted).mean())
"""
TAUGHT = """
import numpy as np
import torch
from torch import nn
from torch.nn import functional


def network(width):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 3))


def data(seed, count):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    centres = np.random.default_rng(99).normal(size=(3, 1, 8, 8))
    return (centres[labels] + 2 * rng.normal(size=(count, 1, 8, 8))).astype(np.float32), labels


def model():
    return network(32)


def student():
    return network(8)


def inputs():
    return {"input": torch.from_numpy(data(0, 2)[0])}


def dynamic():
    return {"input": {0: "batch"}}


def training(epoch=0):
    images, labels = (torch.from_numpy(array) for array in data(5, 128))
    for rows in torch.from_numpy(np.random.default_rng(epoch).permutation(128)).split(32):
        yield {"input": images[rows]}, labels[rows]


def loss(outputs, targets):
    return functional.cross_entropy(outputs, targets)
"""


def keys() -> tuple[bytes, bytes]:
    """A private key and its public half, in PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
