"""Entries laid over conf: the same files with more in them, which the same engine compiles.

Knows: where each kind of entry is written. Must not know: who proposed it or whether it helps. The files on disk stay
as they are; a run gets the extended ones, so hashes, fingerprints and ``knowledge_version`` differ by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ppsehr_spark.domain.knowledge.category_toml import read_category, write_category
from ppsehr_spark.domain.knowledge.entries import CLAUSE, EXEMPLAR, KINDS, LEXICON, NEGATIVE, KnowledgeEntry
from ppsehr_spark.domain.taxonomy import ConfFiles
from ppsehr_spark.errors import ConfigurationError

#: Between a definition and the sentences learned for it.
_JOIN = "；"
#: Of a fixed wording: it is found wherever it stands.
_CONFIDENCE = 0.9


def apply_entries(files: ConfFiles, entries: Iterable[KnowledgeEntry]) -> dict[str, str]:
    """Conf files with the entries in them; without entries the same contents.

    A lexicon row or term that conf has by now is not written twice. Learned examples go before the ones of the file,
    because a judge prompt shows only the first few.

    Raises:
        ConfigurationError: ``KNOWLEDGE_ENTRY`` with entry id and file when an entry has no place in these files.
    """
    changed = dict(files)
    for entry in entries:
        if entry.kind == LEXICON and entry.file == learned_file(entry.category):
            _open_learned(changed, entry.category)
        path = entry.file if entry.kind == LEXICON else f"categories/{entry.category}.toml"
        if path not in changed or entry.kind not in KINDS:
            hint = "conf has no such file any more; roll the knowledge base back or restore the file"
            raise ConfigurationError("KNOWLEDGE_ENTRY", file=path, entry=entry.entry_id, hint=hint)
        change = _add_row if entry.kind == LEXICON else _add_to_category
        changed[path] = change(changed[path], entry)
    return changed


def learned_file(category: str) -> str:
    """Word list of fixed wordings that were learned for a category; it exists only where knowledge is laid over."""
    return f"lexicons/learned_{category.lower()}.tsv"


def _open_learned(files: dict[str, str], category: str) -> None:
    """The word list, and its ``[[lexicon]]`` in the category file."""
    path, file = f"categories/{category}.toml", learned_file(category)
    if path in files and file not in files:
        values = read_category(files[path])
        table = {"id": "learned", "file": file, "confidence": _CONFIDENCE}
        files[path] = write_category({**values, "lexicon": [*values.get("lexicon", []), table]})
        files[file] = ""


def _add_row(text: str, entry: KnowledgeEntry) -> str:
    row = "\t".join((entry.text, *entry.columns))
    if row in text.split("\n"):
        return text
    return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{row}\n"


def _add_to_category(text: str, entry: KnowledgeEntry) -> str:
    values = read_category(text)
    if entry.kind == NEGATIVE:
        values["negative_terms"] = _extended(values.get("negative_terms", []), entry.text)
    elif entry.kind == EXEMPLAR:
        prompt = values.setdefault("prompt", {})
        key = "examples_yes" if entry.is_yes else "examples_no"
        prompt[key] = [entry.text, *(e for e in prompt.get(key, []) if e != entry.text)]
    elif entry.kind == CLAUSE:
        prompt = values.setdefault("prompt", {})
        said = str(prompt.get("definition") or values["name"])
        prompt["definition"] = said if entry.text in said.split(_JOIN) else f"{said}{_JOIN}{entry.text}"
    else:
        values["pattern"] = _extended(values.get("pattern", []), _pattern_table(entry))
    return write_category(values)


def _pattern_table(entry: KnowledgeEntry) -> dict[str, Any]:
    table: dict[str, Any] = {"id": f"learned_{entry.entry_id}", "regex": entry.text}
    table["confidence"] = float(entry.columns[0])
    if len(entry.columns) > 1:
        table["min_digits"] = int(entry.columns[1])
    return table


def _extended(values: list[Any], value: Any) -> list[Any]:
    return values if value in values else [*values, value]
