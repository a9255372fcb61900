"""What a category is: one TOML file per category under ``conf/categories`` becomes one Category.

Knows: the shape of a category file and how categories rank. Must not know: how spans are found.
A clinician adds, changes or switches off a category here without touching Python.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ppsehr_spark.errors import ConfigurationError

#: Conf files as text, keyed by their path relative to ``conf/`` (``categories/NAME.toml``). The driver reads
#: them once; executors and actors get this mapping, so a run never mixes two versions of a file.
ConfFiles = Mapping[str, str]
#: What a model can be asked about a category.
MODEL_TASKS = ("judge", "tier", "extract")


@dataclass(frozen=True)
class Category:
    """One kind of sensitive information.

    Attributes:
        id: upper-case identifier, also the file name.
        name: Chinese name.
        enabled: switched-off categories are neither looked for nor protected.
        priority: higher wins where spans of two categories overlap.
        prevails_over: categories whose spans yield where they lie inside a sure span of this one, whatever their
            priority (a town inside a name after a label).
        prevails_from: confidence from which a span of this category is that sure.
        is_tiered: spans carry a tier 1-3.
        is_direct_identifier: counts for the note leak rate.
        accept_at: confidence in [0, 1] from which a span is final without a model.
        doubt_from: lowest confidence that is still worth a model's opinion; below it is dropped.
        doubt_to: from here on nobody is asked.
        surrogate: protection operator used where a policy does not name the category.
        prompt: Chinese definition and examples for prompts (keys ``definition``, ``examples_yes``, ``examples_no``).
        recognisers: names of built-in grammars (see ``domain.rules``).
        patterns: regular-expression recognisers, as read from ``[[pattern]]``.
        lexicons: term-list recognisers, as read from ``[[lexicon]]``.
        negative_terms: a candidate that lies inside one of these in the text is dropped.
        model_tasks: what a model may say here: ``judge`` a candidate, propose a ``tier``, ``extract`` spans. Only what
            raised F1 on dev gold stands there (``scripts/bench.py lift``).
        tagger: how much a sequence tagger counts here (keys of ``domain.tagging.TagWeights``); empty: not at all.
    """

    id: str
    name: str
    enabled: bool = True
    priority: int = 0
    prevails_over: tuple[str, ...] = ()
    prevails_from: float = 1.0
    is_tiered: bool = False
    is_direct_identifier: bool = False
    accept_at: float = 0.5
    doubt_from: float = 0.3
    doubt_to: float = 0.7
    surrogate: str = "placeholder"
    prompt: Mapping[str, Any] = field(default_factory=dict)
    recognisers: tuple[str, ...] = ()
    patterns: tuple[Mapping[str, Any], ...] = ()
    lexicons: tuple[Mapping[str, Any], ...] = ()
    negative_terms: tuple[str, ...] = ()
    model_tasks: tuple[str, ...] = MODEL_TASKS
    tagger: Mapping[str, Any] = field(default_factory=dict)


_KEYS = {
    "id": str, "name": str, "enabled": bool, "priority": int, "is_tiered": bool, "is_direct_identifier": bool,
    "accept_at": float, "doubt_from": float, "doubt_to": float, "surrogate": str, "prompt": dict,
    "recognisers": list, "pattern": list, "lexicon": list, "negative_terms": list,
    "model_tasks": list, "tagger": dict, "prevails_over": list, "prevails_from": float,
}  # fmt: skip


def load_categories(files: ConfFiles) -> dict[str, Category]:
    """Read every ``categories/*.toml``, sorted by id.

    Raises:
        ConfigurationError: ``CATEGORY_FILE`` with file and key when a file is not TOML, has an unknown key, a
            wrong type, or an id that differs from its file name.
    """
    paths = sorted(path for path in files if path.startswith("categories/") and path.endswith(".toml"))
    categories = (_load_category(path, files[path]) for path in paths)
    return {category.id: category for category in categories}


def _load_category(path: str, text: str) -> Category:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("CATEGORY_FILE", file=path, hint=f"not valid TOML: {error}") from None
    for key, value in raw.items():
        expected = _KEYS.get(key)
        if expected is None:
            raise ConfigurationError("CATEGORY_FILE", file=path, key=key, hint="unknown key")
        is_number = expected is float and isinstance(value, int) and not isinstance(value, bool)
        if not (isinstance(value, expected) or is_number) or (expected is int and isinstance(value, bool)):
            raise ConfigurationError("CATEGORY_FILE", file=path, key=key, hint=f"must be {expected.__name__}")
    if raw.get("id") != path.removeprefix("categories/").removesuffix(".toml"):
        raise ConfigurationError("CATEGORY_FILE", file=path, key="id", hint="must equal the file name")
    if not raw.get("name"):
        raise ConfigurationError("CATEGORY_FILE", file=path, key="name", hint="is required")
    if not set(raw.get("model_tasks", ())) <= set(MODEL_TASKS):
        raise ConfigurationError(
            "CATEGORY_FILE", file=path, key="model_tasks", hint=f"some of {', '.join(MODEL_TASKS)}"
        )
    plural = {"pattern": "patterns", "lexicon": "lexicons"}
    values: dict[str, Any] = {plural.get(k, k): tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    return Category(**values)


def category_priority(categories: Mapping[str, Category]) -> dict[str, int]:
    """Ranks for ``resolve_overlaps``."""
    return {category.id: category.priority for category in categories.values()}
