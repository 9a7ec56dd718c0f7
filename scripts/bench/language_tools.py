"""What makes a directory that generates text: edgepress and its peers, each with settings that it documents."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MB = 1e6
COUNTED = "counted.json"  # of language_floats.py
TIME_LIMIT = 5400  # seconds, of a busy machine
# MB of an engine, tokenizer included, within which grids are chosen: those of SmolLM2's peers, and what is asked for;
# then those of the story's: the builder's in blocks of 64 and 32, optimum-intel's likewise, and with zero points.
SIZES = (82, 90, 93, 100, 3.7, 4.06, 4.38, 4.53, 4.66)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool with one setting.

    Attributes:
        family: `edgepress`, `genai` (the model builder of onnxruntime-genai), `optimum` (optimum-intel), `olive` or
            `inc` (neural-compressor).
        runtime: what opens its directory; `torch` where no runtime opens what the tool writes.
        options: command line options.
        fields: of `optimum` those of its OVWeightQuantizationConfig; of `olive` and `inc` what their scripts take.
        data: it reads the calibration text.
    """

    name: str
    family: str
    runtime: str
    options: tuple[str, ...] = ()
    fields: dict[str, Any] | None = None
    data: bool = False


def _genai(name: str, precision: str, *options: str) -> Tool:
    return Tool(name=f"genai-{name}", family="genai", runtime="onnxruntime", options=(precision, *options))


def _optimum(name: str, **fields: Any) -> Tool:
    data = bool(fields.get("dataset"))
    return Tool(name=f"optimum-{name}", family="optimum", runtime="openvino", fields=fields, data=data)


def _ours(name: str, target: str, *options: str) -> Tool:
    runtime = "openvino" if target == "cpu" else "onnxruntime"
    data = "nearest" not in options and "fp32" not in options
    return Tool(name=f"edgepress-{name}", family="edgepress", runtime=runtime, options=(target, *options), data=data)


def _genai_tools() -> list[Tool]:
    tools = [_genai("fp32", "fp32"), _genai("int8", "int8")]
    for block in (32, 64, 128):
        for suffix, symmetric in (("sym", "true"), ("asym", "false")):
            grid = (f"block_size={block}", f"is_symmetric={symmetric}")
            for method in ("default", "k_quant", "k_quant_mixed"):
                name = "int4" if method == "default" else method
                tools.append(_genai(f"{name}-{suffix}-{block}", "int4", *grid, f"algo_config={method}"))
    return tools


def _optimum_tools() -> list[Tool]:
    tools = [_optimum("fp32"), _optimum("int8", bits=8, sym=False)]
    aware = {"dataset": True, "quant_method": "awq", "scale_estimation": True}
    for block in (32, 64, 128):
        for suffix, symmetric in (("sym", True), ("asym", False)):
            grid = {"bits": 4, "sym": symmetric, "group_size": block, "group_size_fallback": "adjust"}
            for share in (1.0, 0.8):
                name = f"{suffix}-{block}-{share:g}"
                tools += [
                    _optimum(f"int4-{name}", ratio=share, **grid),
                    _optimum(f"awq-se-{name}", ratio=share, **aware, **grid),
                    _optimum(f"awq-se-gptq-{name}", ratio=share, gptq=True, **aware, **grid),
                ]
            every = {"ratio": 1.0, "all_layers": True, **grid}
            tools += [
                _optimum(f"all-{suffix}-{block}", **every),
                _optimum(f"all-awq-se-{suffix}-{block}", **aware, **every),
            ]
    return tools


def _olive_tools() -> list[Tool]:
    """Its passes of torch; those of ONNX on what the builder writes in float32. 128 does not divide SmolLM2's 576."""
    tools = []
    for block in (32, 64, 128):
        for suffix, symmetric in (("sym", True), ("asym", False)):
            grid = {"bits": 4, "group_size": block, "sym": symmetric}
            head = {**grid, "lm_head": True}
            recipes: dict[str, list[list[Any]]] = {
                "rtn": [["Rtn", head]],
                "kquant": [["KQuant", head]],
                "gptq": [["Gptq", grid], ["KQuant", head]],
                "clip-gptq": [["AutoClip", grid], ["Gptq", grid], ["KQuant", head]],
            }
            for name, passes in recipes.items():
                fields = {"passes": passes}
                tools.append(_tool("olive", f"{name}-{suffix}-{block}", fields, data="gptq" in name))
            onnx = {"block_size": block, "is_symmetric": symmetric, "accuracy_level": 4}
            tools.append(_onnx(f"onnx-rtn-{suffix}-{block}", "OnnxBlockWiseRtnQuantization", onnx))
        tools.append(_onnx(f"onnx-hqq-asym-{block}", "OnnxHqqQuantization", {"block_size": block, "accuracy_level": 4}))
    return tools


def _onnx(name: str, kind: str, fields: dict[str, Any]) -> Tool:
    return _tool("olive", name, {"passes": [[kind, fields]], "from": "genai-fp32"}, runtime="onnxruntime")


def _inc_tools() -> list[Tool]:
    tools = []
    for block in (32, 64, 128):
        for suffix, symmetric in (("sym", True), ("asym", False)):
            grid = {"bits": 4, "group_size": block, "use_sym": symmetric, "quant_lm_head": True}
            recipes: dict[str, dict[str, Any]] = {
                "rtn": {"method": "rtn", "fields": grid},
                # Its own rounding of the head comes out as noise.
                "gptq": {"method": "gptq", "fields": {**grid, "quant_lm_head": False}, "head": "rtn"},
                # It tries 20 scales and 10 ranges a layer on all that it reads.
                "awq": {"method": "awq", "fields": grid, "samples": 8},
                "teq": {"method": "teq", "fields": grid},
            }
            for name, fields in recipes.items():
                tools.append(_tool("inc", f"{name}-{suffix}-{block}", fields, data=name != "rtn"))
        hqq = {"bits": 4, "group_size": block, "quant_lm_head": True, "quant_scale": False, "quant_zero": False}
        tools.append(_tool("inc", f"hqq-asym-{block}", {"method": "hqq", "fields": hqq}))
    return tools


def _tool(family: str, name: str, fields: dict[str, Any], runtime: str = "torch", data: bool = False) -> Tool:
    return Tool(name=f"{family}-{name}", family=family, runtime=runtime, fields=fields, data=data)


def _our_tools() -> list[Tool]:
    tools = []
    for target in ("server-cpu", "cpu"):
        tools += [_ours(f"{target}-{name}", target, "--precision", name) for name in ("fp32", "int8", "int4")]
        for block in (32, 64, 128):
            for suffix in ("symmetric", "asymmetric"):
                for rounding in ("data", "nearest"):
                    options = ("--block", str(block), f"--{suffix}", "--rounding", rounding)
                    short = suffix.replace("metric", "")
                    tools.append(_ours(f"{target}-{rounding}-{short}-{block}", target, "--precision", "int4", *options))
        tools += [_ours(f"{target}-size-{size}", target, "--budget", f"size={size}MB") for size in SIZES]
        tools.append(_ours(f"{target}-drop-4", target, "--max-drop", "4%"))
    return tools


_OF = (_genai_tools, _optimum_tools, _olive_tools, _inc_tools, _our_tools)
TOOLS = {tool.name: tool for tools in _OF for tool in tools()}


def make(tool: Tool, model: Path, texts: Path, peers: str, out: Path, shared: Path | None = None) -> dict[str, Any]:
    """Write the directory of a tool; what it cost, `error` instead where the tool failed.

    With `shared`, optimum-intel's conversion and statistics are kept there for its next setting, and cost is not said.
    The clock and the memory are those of the whole command, as a person starts it: imports and reading included.
    """
    if out.exists():
        raise FileExistsError(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if tool.family != "edgepress":
        environment.pop("PYTHONPATH", None)
    log = out.parent / f"{out.name}.log"
    began = time.perf_counter()
    with log.open("w") as file:
        command = _command(tool, model, texts, peers, out, shared)
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=out.parent)
        status, usage = waited(process)
    seconds = time.perf_counter() - began
    if status:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        said = [line for line in lines if re.match(r"\w+(Error|Exception): ", line)] or lines
        return {"error": (said[-1] if said else f"exit status {status}")[:300]}
    size = sizes(engine(out), tool.runtime)
    if shared and tool.family == "optimum":
        return size
    return {
        "seconds": round(seconds, 2),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss * 1024 / MB, 1),
        **size,
    }


def engine(out: Path) -> Path:
    """The directory that the runtime's own library opens: of a bundle, the one within it."""
    names = ("genai_config.json", "openvino_model.xml", COUNTED)
    for name in names:
        if found := sorted(out.rglob(name)):
            return found[0].parent
    raise FileNotFoundError(f"none of {', '.join(names)} under {out}")


def graph(directory: Path) -> Path:
    """The file of the network."""
    if (directory / "openvino_model.xml").exists():
        return directory / "openvino_model.xml"
    config = json.loads((directory / "genai_config.json").read_text())
    return directory / str(config["model"]["decoder"]["filename"])


def sizes(directory: Path, runtime: str) -> dict[str, float]:
    """MB (1e6 bytes) of the network with its weights, counted where no file is, and of all that lies beside it."""
    if runtime == "torch":
        return {"mb": json.loads((directory / COUNTED).read_text())["mb"]}
    files = [file for file in directory.iterdir() if file.is_file()]
    names = ("openvino_model.",) if runtime == "openvino" else (graph(directory).name,)
    network = sum(file.stat().st_size for file in files if file.name.startswith(names))
    return {"mb": round(network / MB, 2), "directory_mb": round(sum(file.stat().st_size for file in files) / MB, 2)}


def _command(tool: Tool, model: Path, texts: Path, peers: str, out: Path, shared: Path | None) -> list[str]:
    match tool.family:
        case "genai":
            precision, *options = tool.options
            builder = [peers, "-m", "onnxruntime_genai.models.builder", "-i", str(model), "-o", str(out), "-e", "cpu"]
            extra = ["--extra_options", *options] if options else []
            return [*builder, "-p", precision, "-c", str(out.with_suffix(".cache")), *extra]
        case "optimum":
            script = str(Path(__file__).with_name("language_optimum.py"))
            job = {"model": str(model), "out": str(out), "fields": tool.fields, "texts": str(texts)}
            job |= {"shared": str(shared)} if shared else {}
            return [peers, script, json.dumps(job)]
        case "olive" | "inc":
            fields = dict(tool.fields or {})
            given = out.with_name(fields.pop("from")) if "from" in fields else model
            job = {"model": str(given), "out": str(out), "texts": str(texts), **fields}
            return [peers, str(Path(__file__).with_name(f"language_{tool.family}.py")), json.dumps(job)]
        case _:
            target, *options = tool.options
            text = ["--calibration", str(texts.with_suffix(".txt"))] if tool.data else []
            code = "import sys; from edgepress.exporter.cli import main; sys.exit(main())"
            given = ["export", str(model), "--target", target, "--output", str(out), "--no-measure"]
            return [sys.executable, "-c", code, *given, *text, *options]


def waited(process: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage]:
    """Its status and what it used, children of its own included."""
    deadline = time.monotonic() + TIME_LIMIT
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(0.05)
