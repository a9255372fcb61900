"""A cluster of mistakes put to the model in Chinese, and what its reply is worth.

Knows: ``conf/prompts/evolve.zh.v<N>.md``, the reply format, and that a proposed term must stand in the mistakes shown.
Must not know: engines, tokens, scores. Note text is data: put in by one pass, the reply bound by a schema.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.domain.grounding import ground_quote
from ppsehr_spark.domain.knowledge.clustering import Cluster
from ppsehr_spark.domain.knowledge.entries import CLAUSE, EXEMPLAR, KnowledgeEntry
from ppsehr_spark.domain.knowledge.evidence import is_term
from ppsehr_spark.domain.knowledge.induction import make_entry
from ppsehr_spark.domain.knowledge.mistakes import MISSED, Mistake
from ppsehr_spark.domain.knowledge.slots import INTO_PATTERN, Slot
from ppsehr_spark.domain.prompting import Question
from ppsehr_spark.domain.taxonomy import Category, ConfFiles
from ppsehr_spark.errors import ConfigurationError

_FILE = re.compile(r"prompts/evolve\.zh\.v(\d+)\.md")
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_SECTIONS = ("前缀", "正文")
_FIELDS = frozenset({"name", "definition", "kind", "mistakes", "slots"})
_EXAMPLE = "判断的例子"
_SHOWN = 6
_MAX_CHANGES = 4
_MAX_TERM_CHARS = 24
_MAX_CLAUSE_CHARS = 60
_MAX_TOKENS = 220
_BORDER = re.compile(r"[。；，、：\s;,:]")
#: A sentence for a prompt speaks in general terms: no numbers that could be somebody's.
_NUMBER = re.compile(r"[0-9]{4,}")


@dataclass(frozen=True)
class EvolvePrompt:
    """The two sections of the newest prompt file, and a hash (16 hex digits) of them."""

    prefix: str
    body: str
    version: str


def compile_evolve_prompt(files: ConfFiles) -> EvolvePrompt:
    """Read the newest version.

    Raises:
        ConfigurationError: ``PROMPT_FILE`` when it is missing, lacks a section or names an unknown placeholder.
    """
    found = sorted((int(match[1]), path) for path in files if (match := _FILE.fullmatch(path)))
    if not found:
        raise ConfigurationError("PROMPT_FILE", file="prompts/evolve.zh.v1.md", hint="the file is missing")
    path = found[-1][1]
    parts = re.split(r"^## *(.+?) *$", files[path], flags=re.MULTILINE)
    sections = {parts[i]: parts[i + 1].strip() for i in range(1, len(parts) - 1, 2)}
    for name in _SECTIONS:
        if not sections.get(name):
            raise ConfigurationError("PROMPT_FILE", file=path, section=name, hint="the section is missing or empty")
        if set(_PLACEHOLDER.findall(sections[name])) - _FIELDS:
            hint = f"unknown placeholder; known are {', '.join(sorted(_FIELDS))}"
            raise ConfigurationError("PROMPT_FILE", file=path, section=name, hint=hint)
    prefix, body = (sections[name] for name in _SECTIONS)
    return EvolvePrompt(prefix, body, hashlib.sha256(f"{prefix}\n{body}".encode()).hexdigest()[:16])


def is_askable(cluster: Cluster) -> bool:
    """True when conf has a place for what the model may answer."""
    return bool(_writable(cluster))


def cluster_question(prompt: EvolvePrompt, cluster: Cluster, category: Category) -> Question:
    """What do these mistakes have in common, and where should it be written? JSON with at most 4 changes."""
    names = [slot.name for slot in _writable(cluster)] + [_EXAMPLE]
    values = {
        "name": category.name,
        "definition": str(category.prompt.get("definition") or category.name),
        "kind": "漏标" if cluster.kind == MISSED else "误标",
        "mistakes": "\n".join(f"{at}. {_show(m)}" for at, m in enumerate(_pick(cluster.members), 1)),
        "slots": "；".join(names),
    }
    body = _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), prompt.body)
    change = {
        "type": "object",
        "properties": {
            "去处": {"type": "string", "enum": names},
            "词": {"type": "string", "minLength": 1, "maxLength": _MAX_TERM_CHARS},
        },
        "required": ["去处", "词"],
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "properties": {
            "改动": {"type": "array", "items": change, "maxItems": _MAX_CHANGES},
            "说明": {"type": "string", "maxLength": _MAX_CLAUSE_CHARS},
        },
        "required": ["改动", "说明"],
        "additionalProperties": False,
    }
    return Question(prompt.prefix, body, json_schema=schema, max_tokens=_MAX_TOKENS)


@dataclass(frozen=True)
class ReadReply:
    """Entries that a reply gives, and how many of its terms stand in none of the mistakes."""

    entries: tuple[KnowledgeEntry, ...] = ()
    n_ungrounded: int = 0
    is_readable: bool = True


def read_reply(reply: str, cluster: Cluster, *, proposer: str, is_direct: bool) -> ReadReply:
    """Grounded entries of a reply; what cannot be read gives none.

    Args:
        proposer: model with its fingerprint, for the provenance.
        is_direct: the category identifies people: a sentence that repeats a span is dropped.
    """
    fields = _read_object(reply)
    changes, clause = fields.get("改动"), fields.get("说明")
    if not isinstance(changes, list) or not isinstance(clause, str):
        return ReadReply(is_readable=False)
    entries: list[KnowledgeEntry] = []
    n_ungrounded = 0
    for change in changes[:_MAX_CHANGES]:
        place, term = (str(change.get(key, "")).strip() if isinstance(change, dict) else "" for key in ("去处", "词"))
        made = list(_read_change(place, term, cluster, proposer))
        n_ungrounded += not made
        entries += made
    entries += _read_clause(clause.strip(), cluster, proposer, is_direct=is_direct)
    return ReadReply(tuple(dict.fromkeys(entries)), n_ungrounded)


def _read_change(place: str, term: str, cluster: Cluster, proposer: str) -> Iterator[KnowledgeEntry]:
    members = [m for m in cluster.members if ground_quote(m.before + m.text + m.after, term)]
    if not members:
        return
    if place == _EXAMPLE:
        yield _exemplar(members[0], cluster, proposer)
    for slot in _writable(cluster):
        if slot.name == place and is_term(term):
            for columns in slot.columns:
                yield make_entry(cluster, slot, term=term, columns=columns, proposer=proposer)


def _exemplar(mistake: Mistake, cluster: Cluster, proposer: str) -> KnowledgeEntry:
    """The clause around the span, in the form of the category files; yes where it was missed."""
    head = _BORDER.split(mistake.before)[-1]
    tail = _BORDER.split(mistake.after)[0]
    text = f"{head}{mistake.text}{tail} 中的 {mistake.text}"
    is_yes = cluster.kind == MISSED
    return KnowledgeEntry(EXEMPLAR, cluster.category, text, is_yes=is_yes, provenance=cluster.origin(proposer))


def _read_clause(clause: str, cluster: Cluster, proposer: str, *, is_direct: bool) -> Iterator[KnowledgeEntry]:
    quotes = is_direct and any(m.text in clause for m in cluster.members)
    is_plain = "\n" not in clause and "{{" not in clause and not _NUMBER.search(clause)
    if 4 <= len(clause) <= _MAX_CLAUSE_CHARS and is_plain and not quotes:
        yield KnowledgeEntry(CLAUSE, cluster.category, clause.rstrip("。"), provenance=cluster.origin(proposer))


def _writable(cluster: Cluster) -> list[Slot]:
    """Slots that take a literal term; expressions are left to induction."""
    return [slot for slot in cluster.slots if slot.into != INTO_PATTERN and slot.evidence not in ("shape", "form")]


def _pick(members: Sequence[Mistake]) -> Sequence[Mistake]:
    """Few members with different texts."""
    return list({m.text: m for m in reversed(members)}.values())[:_SHOWN]


def _show(mistake: Mistake) -> str:
    return f"{mistake.before}【{mistake.text}】{mistake.after}".replace("\n", " ")


def _read_object(reply: str) -> Mapping[str, Any]:
    start, end = reply.find("{"), reply.rfind("}")
    try:
        value = json.loads(reply[start : end + 1]) if 0 <= start < end else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
