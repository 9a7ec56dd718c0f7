"""Record what the Python module of a TensorRT release has, from a clone of github.com/NVIDIA/TensorRT.

The open part of TensorRT holds the source of its Python bindings from 8.0 on. Written down are names, the names of
arguments where the bindings give them, and whether a property can be set; nothing of the code.

    scripts/tensorrt_api CLONE 8.0.1 v10.3.0 ...      # tags; one file each in tests/backends/tensorrt_api/
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

TABLES = Path(__file__).parents[1] / "tests" / "backends" / "tensorrt_api"
FILES = ("infer/pyCore.cpp", "infer/pyFoundationalTypes.cpp", "infer/pyGraph.cpp", "parsers/pyOnnx.cpp")
# What a build and a run touch, or might.
CLASSES = {
    *("Builder", "EngineInspector", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory", "ILayer"),
    *("INetworkDefinition", "IOptimizationProfile", "ITensor", "ITimingCache", "OnnxParser", "ParserError", "Runtime"),
}
ENUMS = {
    *("BuilderFlag", "DataType", "DeviceType", "LayerInformationFormat", "LayerType", "MemoryPoolType"),
    *("NetworkDefinitionCreationFlag", "OnnxParserFlag", "ProfilingVerbosity", "TensorIOMode"),
}
BOUND = re.compile(r"py::(class_|enum_)<(.*?)>\s*\w*\s*[({]\s*m,\s*\"(\w+)\"", re.DOTALL)
MEMBER = re.compile(
    r"\.(def|def_static|def_property|def_property_readonly|def_readwrite|def_readonly)\(\s*\"(\w+)\"(.*?)"
    r"(?=\n\s*\.def|\n\s*\.value|;)",
    re.DOTALL,
)


def main() -> None:
    clone, *tags = sys.argv[1:]
    for tag in tags:
        table = recorded(clone, tag)
        path = TABLES / f"{'.'.join(table['release'].split('.')[:2])}.json"
        text = json.dumps(table, indent=1, sort_keys=True) + "\n"
        path.write_text(re.sub(r"\[\s[^\]]*\]", lambda found: " ".join(found[0].split()), text), encoding="utf-8")
        sys.stdout.write(f"{path.name}: TensorRT {table['release']}\n")


def recorded(clone: str, tag: str) -> dict[str, object]:
    text = re.sub(r"//[^\n]*", "", "\n".join(shown(clone, tag, f"python/src/{file}") for file in FILES))
    classes: dict[str, dict[str, object]] = {}
    enums: dict[str, list[str]] = {}
    spots = list(BOUND.finditer(text))
    for spot, following in zip(spots, [*spots[1:], None], strict=True):
        body = text[spot.end() : following.start() if following else len(text)]
        if spot[1] == "enum_" and spot[3] in ENUMS:
            enums[spot[3]] = sorted(re.findall(r"\.value\(\s*\"(\w+)\"", body))
        elif spot[1] == "class_" and spot[3] in CLASSES:
            members = {m[2]: member(m[1], m[3]) for m in MEMBER.finditer(body) if not m[2].startswith("__")}
            classes[spot[3]] = members
    commit = git(clone, "rev-parse", "--short=12", f"{tag}^{{commit}}").strip()
    return {
        "release": shown(clone, tag, "VERSION").strip(),
        "source": f"github.com/NVIDIA/TensorRT, tag {tag}, commit {commit}: python/src/{{{','.join(FILES)}}}",
        "classes": classes,
        "enums": enums,
    }


def member(kind: str, rest: str) -> str | list[str]:
    """`read` or `write` of a property; of a method the names of its arguments, `?` behind those with a default."""
    if kind in ("def", "def_static"):
        return [name + ("?" if default else "") for name, default in re.findall(r"\"(\w+)\"_a(\s*=)?", rest)]
    return "read" if kind.endswith("only") else "write"


def shown(clone: str, tag: str, path: str) -> str:
    return git(clone, "show", f"{tag}:{path}")


def git(clone: str, *words: str) -> str:
    return subprocess.run(["git", "-C", clone, *words], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
