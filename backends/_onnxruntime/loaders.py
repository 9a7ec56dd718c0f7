"""The loaders of an engine of onnxruntime, and the page on them: providers, and a runtime of its operators alone."""

from __future__ import annotations

from pathlib import PurePosixPath

from ..loaders.facts import LoaderFacts
from ..loaders.render import CPP, KOTLIN, PYTHON, SWIFT, loaders, page
from .providers import verdicts

CONFIG = "required_operators_and_types.config"
_HERE = "onnxruntime"


def onnxruntime_loaders(facts: LoaderFacts) -> dict[str, str]:
    """C++ and Python; of what is not for x86-64, a phone or a board, the languages of their apps as well."""
    portable = facts.target.arch != "x86_64"
    languages = (PYTHON, CPP, *((KOTLIN, SWIFT) if portable else ()))
    made = loaders(_HERE, facts, languages)
    engine = PurePosixPath(facts.engine)
    values = {
        "facts": facts,
        "languages": languages,
        "config": str(engine.with_name(CONFIG)) if engine.suffix == ".ort" else "",
        "verdicts": verdicts(facts.graph) if portable else (),
        "version": facts.versions.get("onnxruntime", ""),
    }
    return {**made, "README.md": page(_HERE, values)}
