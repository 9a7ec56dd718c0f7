"""Write `docs/targets/`: one page a target, from the target's data and the hand-written notes of its family.

The data stand in `profiles/device/targets/*.toml`,
the notes in `docs/targets/families/*.md` (Jinja). A test compares the
pages with what this writes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jinja2

from edgepress.profiles.device.left import Left
from edgepress.profiles.device.target import Fact, Scheme, Target, load_target, target_names

DOCS = Path(__file__).resolve().parents[1] / "docs" / "targets"
# Another JetPack that the modules of this one run as well; those of JetPack 4 run no other.
_OTHER = {"jetpack-5.1": "jetpack-4.6", "jetpack-6.2": "jetpack-5.1", "jetpack-7.1": "jetpack-7.2"}
BACKENDS = {
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT-RTX",
}


def pages() -> dict[str, str]:
    """File name to content: every target, and the index."""
    targets = [load_target(name) for name in target_names()]
    return {"README.md": _index(targets), **{f"{target.name}.md": _page(target) for target in targets}}


def family(target: Target) -> str:
    """The notes that hold for a target."""
    if target.scheme is None and target.backend == "onnxruntime":
        return "ios"
    if target.backend == "onnxruntime":
        return "onnxruntime-arm" if target.arch == "aarch64" else "onnxruntime-x86"
    if target.backend == "tensorrt":
        return "jetson" if "jetpack" in target.toolchain.versions else "cuda"
    return {"openvino": "openvino", "tensorrt-rtx": "rtx"}[target.backend]


def _page(target: Target) -> str:
    python = tuple(map(int, target.toolchain.versions.get("python", "3.10").split(".")))
    other = _OTHER.get(target.toolchain.name)
    notes = _render(_template(family(target)), target=target, python=python, other=other)
    figures = {**({"taken where nothing is measured": target.fastest} if target.fastest else {}), **target.figures}
    return _render(
        _template("page"),
        target=target,
        family=family(target),
        asked=" or ".join(f"`--target {name}`" for name in (*target.aliases, target.name)),
        backend=BACKENDS[target.backend],
        arch={"x86_64": "x86-64", "aarch64": "ARM64", "any": "any processor"}[target.arch],
        notes=notes.strip(),
        scheme=_scheme(target.scheme) if target.scheme else (),
        software=", ".join(f"{name} {version}" for name, version in target.toolchain.versions.items()),
        figures=figures,
    )


def _scheme(scheme: Scheme) -> tuple[tuple[str, str], ...]:
    """The scheme's data as a table."""
    zero = "zero point 0" if scheme.activation.symmetric else "with a zero point"
    weight = scheme.weight
    share = {"tensor": "a tensor", "channel": "an output channel", "block": f"{weight.block} input channels"}
    stored = {"integer": f"stored as {weight.dtype}", "float": "stored in float behind a Q/DQ pair"}[
        scheme.weight_storage
    ]
    residual = {
        "both": "both branches",
        "skip": "the branch that does not come from the convolution",
        "none": "neither",
    }
    return (
        ("activations", f"{scheme.activation.dtype}, {zero}, one scale a tensor"),
        ("weights", f"{weight.dtype}, zero point 0, one scale {share[weight.granularity]}, {stored}"),
        ("bias", scheme.bias),
        ("quantized with their weights", ", ".join(scheme.weighted)),
        ("of these, with a quantized result", ", ".join(scheme.outputs) or "none"),
        ("activations fused before that", ", ".join(scheme.fused) or "none"),
        ("a residual sum", residual[scheme.residual]),
        ("gates, and what they are multiplied by, in integers", ", ".join(scheme.gated) or "none"),
        ("on both sides, a scale each", ", ".join(scheme.around) or "none"),
        ("one scale for all inputs and the output", ", ".join(scheme.shared) or "none"),
        ("integer kernels that round by themselves", ", ".join(scheme.dynamic) or "none"),
        ("left in float in any case", "; ".join(_left(left) for left in scheme.left) or "none"),
    )


def _left(left: Left) -> str:
    """What stays float, and why."""
    return f"{', '.join(left.operators)}: {left.reason}"


def _index(targets: list[Target]) -> str:
    rows = [
        f"| [{target.title}]({target.name}.md) | {', '.join(f'`{n}`' for n in (*target.aliases, target.name))} | "
        f"{BACKENDS[target.backend]} | {', '.join(target.precisions)} |"
        for target in sorted(targets, key=lambda t: (t.name.startswith("jetson"), t.name))
    ]
    head = "<!-- Written by scripts/targets from profiles/device/targets and families/index.md: change those. -->"
    table = "## All targets\n\n| device | name | runtime | precisions |\n|---|---|---|---|"
    return "\n".join([f"{head}\n\n{_template('index').strip()}\n\n{table}", *rows, ""])


def _template(name: str) -> str:
    return (DOCS / "families" / f"{name}.md").read_text(encoding="utf-8")


def _render(template: str, **values: object) -> str:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    text = environment.from_string(template).render(flat=_flat, value=_value, **values)
    return re.sub(r"\n+(#+ |Source: )", r"\n\n\1", text)


def _value(figure: Fact) -> str:
    value = figure.value if isinstance(figure.value, str) else f"{figure.value:g}"
    return f"{value} {figure.unit}".strip()


def _flat(text: str) -> str:
    """One line of what a TOML file breaks into several, with nothing that ends a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    made = pages()
    for stale in {path.name for path in DOCS.glob("*.md")} - set(made):
        (DOCS / stale).unlink()
    for name, text in made.items():
        (DOCS / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(made)} pages in docs/targets\n")
