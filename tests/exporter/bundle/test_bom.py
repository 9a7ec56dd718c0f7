"""The bill of what went into a bundle: CycloneDX as its own library reads it, with a licence or that there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from edgepress.errors import InputError
from edgepress.exporter.bundle.bom import write_bom
from edgepress.exporter.bundle.manifest import BOM, Bundle
from edgepress.profiles.machine.licences import Licences, licences

from .test_bundle import filled
from .test_lineage import GIVEN, PRUNED, steps

TOOLS = {"numpy": version("numpy"), "openvino": version("openvino"), "onnxruntime": version("onnxruntime")}


def fields(bundle: Bundle, **changes: Any) -> dict[str, Any]:
    manifest = replace(bundle.manifest, lineage=steps("e" * 64), tools=TOOLS)
    names = ("model", "target", "engine", "lineage", "tools")
    return {**{name: getattr(manifest, name) for name in names}, **changes}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return filled(tmp_path / "bundle")


def written(bundle: Bundle, **changes: Any) -> dict[str, Any]:
    write_bom(bundle.path, "bundle", fields(bundle, **changes), bundle.manifest.files)
    data: dict[str, Any] = json.loads((bundle.path / BOM).read_text(encoding="utf-8"))
    return data


def test_the_library_of_the_format_takes_it(bundle: Bundle) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json", reason="cyclonedx-python-lib is not installed")
    from cyclonedx.schema import SchemaVersion

    unbuilt = replace(bundle.manifest.engine, path=None, why="not built here")
    licensed = replace(bundle.manifest.model, licence="apache-2.0")
    for changes in ({}, {"engine": unbuilt}, {"model": licensed}, {"lineage": ()}):
        written(bundle, **changes)
        validator = validation.JsonStrictValidator(SchemaVersion.V1_6)
        assert validator.validate_str((bundle.path / BOM).read_text(encoding="utf-8")) is None
        assert validator.validate_str("{}") is not None


def test_it_names_what_went_in_with_its_digest(bundle: Bundle) -> None:
    data = written(bundle)
    parts = {part["bom-ref"]: part for part in data["components"]}
    assert parts["source"]["properties"][0] == {"name": "edgepress:digest", "value": GIVEN}
    assert parts[f"data:{'9' * 64}"]["type"] == "data"
    ancestors = [one["properties"][0]["value"] for one in parts["graph"]["pedigree"]["ancestors"]]
    assert ancestors[:2] == [GIVEN, PRUNED]
    (file,) = parts["engine"]["components"]
    assert file["hashes"] == [{"alg": "SHA-256", "content": bundle.manifest.files["engine/model.bin"].sha256}]
    refs = [part["ref"] for part in data["dependencies"]]
    assert refs == ["bundle", "engine", "graph"]
    known = {"bundle", *parts}
    assert {ref for one in data["dependencies"] for ref in one["dependsOn"]} <= known


def test_licences_are_those_that_packages_state(bundle: Bundle) -> None:
    tools = {tool["name"]: tool for tool in written(bundle)["metadata"]["tools"]["components"]}
    assert tools["openvino"]["licenses"] == [{"expression": "Apache-2.0"}]
    assert tools["onnxruntime"]["licenses"] == [{"license": {"name": "MIT License"}}]
    assert tools["numpy"]["purl"] == f"pkg:pypi/numpy@{version('numpy')}"
    assert licences("a-package-that-nobody-has") == Licences()


def test_a_licence_that_nobody_stated_is_said_to_be_so(bundle: Bundle) -> None:
    unstated = {"name": "edgepress:licence", "value": "not stated"}
    (source,) = [part for part in written(bundle)["components"] if part["bom-ref"] == "source"]
    assert unstated in source["properties"] and "licenses" not in source
    licensed = written(bundle, model=replace(bundle.manifest.model, licence="apache-2.0"))
    (source,) = [part for part in licensed["components"] if part["bom-ref"] == "source"]
    assert unstated not in source["properties"] and source["licenses"] == [{"license": {"name": "apache-2.0"}}]


def test_a_device_adds_its_tools_to_those_of_the_export(bundle: Bundle) -> None:
    written(bundle, tools={"numpy": "1.0", "openvino": "2025.0"})
    tools = written(bundle, tools={"numpy": "1.0", "openvino": "2026.0"})["metadata"]["tools"]["components"]
    assert [tool["bom-ref"] for tool in tools] == [
        "tool:numpy@1.0",
        "tool:openvino@2025.0",
        "tool:openvino@2026.0",
    ]
    (bundle.path / BOM).write_text("[]")
    with pytest.raises(InputError, match="is not what an export writes"):
        written(bundle)


def test_the_same_bundle_has_the_same_bill(bundle: Bundle) -> None:
    assert written(bundle) == written(bundle)
