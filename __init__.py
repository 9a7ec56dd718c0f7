"""edgepress turns a trained PyTorch model into what an edge device runs: compressed, compiled, proven and measured.

    import edgepress
    bundle = edgepress.export(model, inputs={"image": batch}, target="cpu", calibration=batches)

Names are imported when they are first used: `import edgepress` loads neither torch nor a vendor SDK.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# onnxruntime's wheels report usage to their vendor and leave a session file in the temporary directory; a user who
# wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from .backends.base import AxisRange
    from .errors import EdgepressError, InputError, TargetsError, UnservedError, VerificationError
    from .exporter.api import export, export_all
    from .exporter.bundle.build import build_bundle
    from .exporter.bundle.manifest import Bundle, load_bundle
    from .exporter.bundle.signature import sign_bundle
    from .exporter.bundle.signing_keys import load_private_key, load_public_key
    from .exporter.bundle.verify import verify_bundle
    from .exporter.delivery.install import install_package
    from .exporter.delivery.pack import pack_bundles
    from .exporter.recipe import PreprocessSettings, Recipe, TrainingSettings, WeightSettings
    from .exporter.recipe_file import load_recipe
    from .profiles.budget.budget import Budget
    from .profiles.device.target import Target, load_target

_HOME = {
    "AxisRange": ".backends.base",
    "Budget": ".profiles.budget.budget",
    "Bundle": ".exporter.bundle.manifest",
    "EdgepressError": ".errors",
    "InputError": ".errors",
    "PreprocessSettings": ".exporter.recipe",
    "Recipe": ".exporter.recipe",
    "Target": ".profiles.device.target",
    "TargetsError": ".errors",
    "TrainingSettings": ".exporter.recipe",
    "UnservedError": ".errors",
    "VerificationError": ".errors",
    "WeightSettings": ".exporter.recipe",
    "build_bundle": ".exporter.bundle.build",
    "export": ".exporter.api",
    "export_all": ".exporter.api",
    "install_package": ".exporter.delivery.install",
    "load_bundle": ".exporter.bundle.manifest",
    "load_private_key": ".exporter.bundle.signing_keys",
    "load_public_key": ".exporter.bundle.signing_keys",
    "load_recipe": ".exporter.recipe_file",
    "load_target": ".profiles.device.target",
    "pack_bundles": ".exporter.delivery.pack",
    "sign_bundle": ".exporter.bundle.signature",
    "verify_bundle": ".exporter.bundle.verify",
}

__all__ = [
    "AxisRange",
    "Budget",
    "Bundle",
    "EdgepressError",
    "InputError",
    "PreprocessSettings",
    "Recipe",
    "Target",
    "TargetsError",
    "TrainingSettings",
    "UnservedError",
    "VerificationError",
    "WeightSettings",
    "build_bundle",
    "export",
    "export_all",
    "install_package",
    "load_bundle",
    "load_private_key",
    "load_public_key",
    "load_recipe",
    "load_target",
    "pack_bundles",
    "sign_bundle",
    "verify_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
