"""Questions to the model in Chinese, and what its replies mean.

Knows: the prompt files (``conf/prompts/<task>.zh.v<N>.md``), the ``[prompt]`` table of the categories, and the reply
formats. Must not know: engines, tokens, tables. Note text is data: it is put in once, by one pass over the template,
so nothing in it is taken for a placeholder, and the reply format is fixed by choices or a schema whatever it says.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.domain.taxonomy import Category, ConfFiles
from ppsehr_spark.errors import ConfigurationError

YES, NO = "是", "否"
TIERS = ("1", "2", "3")
#: Version of a prompt that does not exist: there is nothing to ask again with.
NO_VERSION = "none"
_SECTIONS = {"judge": ("前缀", "示例", "正文"), "extract": ("前缀", "正文"), "tier": ("前缀", "依据", "级别")}
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_KNOWN = frozenset(
    {"answer", "candidate", "categories", "definition", "evidence", "marked"}
    | {"name", "note_type", "sentence", "text", "tiers", "worked_examples"}
)
_FILE = re.compile(r"prompts/(judge|extract|tier)\.zh\.v(\d+)\.md")
#: Worked examples of each answer in a judge prefix. Ten in all measured no better than six (AUC 0.960 and 0.961 on
#: name candidates in news) and cost 80 tokens more per category and run.
_MAX_EXAMPLES = 3
_MAX_ITEMS = 12
_MAX_QUOTE_CHARS = 60
_MAX_EVIDENCE_CHARS = 24
_MAX_CLAUSES = 24
_CLAUSE_END = re.compile(r"[，。；：！？,;:!?\s]+")


@dataclass(frozen=True)
class Question:
    """One request to a model, in the terms of any engine.

    Attributes:
        prefix: the same for every question of one task and category; engines cache it.
        body: the part with note text.
        choices: the only answers allowed, one token each; ``None`` for JSON.
        json_schema: the only form allowed; ``None`` for choices.
        max_tokens: bound of the answer, in tokens.
    """

    prefix: str
    body: str
    choices: tuple[str, ...] | None = None
    json_schema: Mapping[str, Any] | None = None
    max_tokens: int = 1


@dataclass(frozen=True)
class PromptBook:
    """All templates of a run, filled with what the categories say.

    Attributes:
        sections: (task, section) -> template.
        prefixes: (task, category id) -> finished prefix; ``extract`` has the empty category id.
        names: category id -> Chinese name.
        extracted: ids of the categories that a model may extract.
        accept_logits: category id -> threshold of its own (``[prompt] accept_logit``), where it has one.
        version: hash (16 hex digits) of everything above.
        versions: (task, category id) -> hash (16 hex digits) of all that a question of that kind shows beside the text.
    """

    sections: Mapping[tuple[str, str], str]
    prefixes: Mapping[tuple[str, str], str]
    names: Mapping[str, str]
    extracted: frozenset[str]
    accept_logits: Mapping[str, float]
    version: str
    versions: Mapping[tuple[str, str], str]

    def name_prompts(self, task: str, categories: Iterable[str]) -> tuple[str, ...]:
        """``task:category:version`` of every prompt that a segment of this task and these candidates is asked with."""
        kinds = [(task, category) for category in sorted(set(categories))] or [(task, "")]
        return tuple(f"{task}:{category}:{self.versions.get((task, category), NO_VERSION)}" for task, category in kinds)

    def list_prompts(self) -> frozenset[str]:
        """The same names for every prompt there is: an answer that names another one was asked with other words."""
        return frozenset(f"{task}:{category}:{version}" for (task, category), version in self.versions.items())


def compile_prompts(files: ConfFiles, categories: Mapping[str, Category]) -> PromptBook:
    """Read the newest version of each prompt file and fill its prefix per enabled category.

    Raises:
        ConfigurationError: ``PROMPT_FILE`` with the file where one is missing or lacks a section.
    """
    sections = {
        (task, name): body
        for task, (path, text) in _newest(files).items()
        for name, body in _read_sections(path, text, wanted=_SECTIONS[task]).items()
    }
    enabled = {c.id: c for c in categories.values() if c.enabled}
    extracted = {c.id: c for c in enabled.values() if "extract" in c.model_tasks}
    prefixes = {("extract", ""): _extract_prefix(sections, extracted)}
    for category in enabled.values():
        prefixes["judge", category.id] = _judge_prefix(sections, category)
        if category.prompt.get("tiers"):
            prefixes["tier", category.id] = _tier_prefix(sections, category)
    names = {c.id: c.name for c in enabled.values()}
    logits = {c.id: float(c.prompt["accept_logit"]) for c in enabled.values() if "accept_logit" in c.prompt}
    version = _hash([[list(k), v] for part in (sections, prefixes) for k, v in sorted(part.items())])
    versions = {
        (task, category): _hash([prefix, *(sections[task, name] for name in _SECTIONS[task])])
        for (task, category), prefix in prefixes.items()
    }
    return PromptBook(sections, prefixes, names, frozenset(extracted), logits, version, versions)


def is_in_force(prompt: str, in_force: Collection[str]) -> bool:
    """Whether an answer to this prompt (``PromptBook.name_prompts``) need not be asked for again."""
    return prompt in in_force or prompt.endswith(f":{NO_VERSION}")


def judge_question(book: PromptBook, *, text: str, candidate: Span) -> Question | None:
    """Is the marked text of its category? One token, yes or no; ``None`` for a category that is not enabled."""
    prefix = book.prefixes.get(("judge", candidate.category))
    if prefix is None:
        return None
    marked = f"{text[: candidate.start]}【{text[candidate.start : candidate.end]}】{text[candidate.end :]}"
    quoted = text[candidate.start : candidate.end]
    values = {"text": text, "marked": marked, "candidate": quoted, "name": book.names[candidate.category]}
    return Question(prefix, _fill(book.sections["judge", "正文"], values), choices=(YES, NO))


def extract_question(book: PromptBook, *, text: str, note_type: str) -> Question:
    """What sensitive mentions does the segment hold? JSON with at most 12 items."""
    values = {"text": text, "note_type": note_type or "未知"}
    item = {
        "type": "object",
        "properties": {
            "类别": {"type": "string", "enum": sorted(book.names[category] for category in book.extracted)},
            "原文": {"type": "string", "minLength": 1, "maxLength": _MAX_QUOTE_CHARS},
        },
        "required": ["类别", "原文"],
        "additionalProperties": False,
    }
    schema = _object_schema("items", {"type": "array", "items": item, "maxItems": _MAX_ITEMS})
    body = _fill(book.sections["extract", "正文"], values)
    return Question(book.prefixes["extract", ""], body, json_schema=schema, max_tokens=320)


def evidence_question(book: PromptBook, *, text: str, candidate: Span) -> Question | None:
    """Which words decide the tier? JSON with one quote; ``None`` for a category without ``[prompt] tiers``."""
    prefix = book.prefixes.get(("tier", candidate.category))
    if prefix is None:
        return None
    values = {"text": text, "candidate": text[candidate.start : candidate.end]}
    schema = _object_schema("依据", {"type": "string", **_evidence_form(text)})
    return Question(prefix, _fill(book.sections["tier", "依据"], values), json_schema=schema, max_tokens=48)


def tier_question(book: PromptBook, *, text: str, candidate: Span, evidence: str) -> Question:
    """Which tier, given the grounded evidence? One token, 1, 2 or 3."""
    values = {"text": text, "candidate": text[candidate.start : candidate.end], "evidence": evidence}
    body = _fill(book.sections["tier", "级别"], values)
    return Question(book.prefixes["tier", candidate.category], body, choices=TIERS)


def read_log_odds(scores: Mapping[str, float] | None) -> float | None:
    """log p(yes) - log p(no), natural logarithm; ``None`` where the reply holds no such scores."""
    if not scores or YES not in scores or NO not in scores:
        return None
    odds = float(scores[YES]) - float(scores[NO])
    return odds if odds == odds else None


def read_tier(scores: Mapping[str, float] | None) -> int | None:
    """The most probable tier; of equals the higher one. ``None`` where a score is missing."""
    if not scores or any(tier not in scores for tier in TIERS):
        return None
    return max((float(scores[tier]), int(tier)) for tier in TIERS)[1]


def read_items(book: PromptBook, reply: str) -> list[tuple[str, str]] | None:
    """(category id, quote) pairs of an extraction; ``None`` where the reply does not follow the schema."""
    items = _read_json(reply, key="items", kind=list)
    if items is None or len(items) > _MAX_ITEMS:
        return None
    by_name = {book.names[category]: category for category in book.extracted}
    pairs: list[tuple[str, str]] = []
    for item in items:
        fields = item if isinstance(item, dict) else {}
        quote, category = fields.get("原文"), by_name.get(str(fields.get("类别")))
        if not isinstance(quote, str) or category is None:
            return None
        pairs.append((category, quote))
    return pairs


def read_evidence(reply: str) -> str | None:
    """The quoted evidence; ``None`` where the reply does not follow the schema."""
    evidence = _read_json(reply, key="依据", kind=str)
    return evidence if isinstance(evidence, str) and evidence else None


def _hash(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _evidence_form(text: str) -> dict[str, Any]:
    """The clauses of the text, of which one is picked: a small model asked for a free quote likes to invent one."""
    clauses = (clause.strip()[:_MAX_EVIDENCE_CHARS] for clause in _CLAUSE_END.split(text))
    named = list(dict.fromkeys(clause for clause in clauses if len(clause) > 1))
    if 0 < len(named) <= _MAX_CLAUSES:
        return {"enum": named}
    return {"minLength": 1, "maxLength": _MAX_EVIDENCE_CHARS}


def _newest(files: ConfFiles) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[int, str]] = {}
    for path in files:
        match = _FILE.fullmatch(path)
        if match:
            task, version = match[1], int(match[2])
            found[task] = max(found.get(task, (0, "")), (version, path))
    for task in _SECTIONS:
        if task not in found:
            raise ConfigurationError("PROMPT_FILE", file=f"prompts/{task}.zh.v1.md", hint="the file is missing")
    return {task: (path, files[path]) for task, (_, path) in found.items()}


def _read_sections(path: str, text: str, *, wanted: Sequence[str]) -> dict[str, str]:
    """``## heading`` -> text below it; what stands before the first heading is for people."""
    parts = re.split(r"^## *(.+?) *$", text, flags=re.MULTILINE)
    sections = {parts[i]: parts[i + 1].strip() for i in range(1, len(parts) - 1, 2)}
    for name in wanted:
        if not sections.get(name):
            raise ConfigurationError("PROMPT_FILE", file=path, section=name, hint="the section is missing or empty")
        unknown = set(_PLACEHOLDER.findall(sections[name])) - _KNOWN
        if unknown:
            hint = f"unknown placeholder; known are {', '.join(sorted(_KNOWN))}"
            raise ConfigurationError("PROMPT_FILE", file=path, section=name, hint=hint)
    return {name: sections[name] for name in wanted}


def _judge_prefix(sections: Mapping[tuple[str, str], str], category: Category) -> str:
    """Definition and worked examples, yes and no in turn so that the last answer is no habit."""
    values = {"name": category.name, "definition": _definition(category)}
    examples = (category.prompt.get(key, ())[:_MAX_EXAMPLES] for key in ("examples_yes", "examples_no"))
    turns = zip_longest(*examples)
    worked = [
        _fill(sections["judge", "示例"], {**values, **_worked_example(example), "answer": answer})
        for pair in turns
        for example, answer in zip(pair, (YES, NO), strict=True)
        if example
    ]
    return _fill(sections["judge", "前缀"], {**values, "worked_examples": "\n".join(worked)})


def _worked_example(example: str) -> dict[str, str]:
    """``王主任查房 中的 王`` is a sentence and the candidate in it; anything else is both at once."""
    sentence, separator, candidate = example.partition(" 中的 ")
    return {"sentence": sentence, "candidate": candidate if separator else sentence}


def _extract_prefix(sections: Mapping[tuple[str, str], str], enabled: Mapping[str, Category]) -> str:
    lines = []
    for category in enabled.values():
        examples = "、".join(_worked_example(e)["candidate"] for e in category.prompt.get("examples_yes", ()))
        lines.append(f"{category.name}：{_definition(category)}" + (f"。例：{examples}" if examples else ""))
    return _fill(sections["extract", "前缀"], {"categories": "\n".join(lines)})


def _tier_prefix(sections: Mapping[tuple[str, str], str], category: Category) -> str:
    tiers = category.prompt["tiers"]
    if not isinstance(tiers, list) or len(tiers) != len(TIERS):
        hint = "[prompt] tiers holds three texts, for tier 1, 2 and 3"
        raise ConfigurationError("CATEGORY_FILE", file=f"categories/{category.id}.toml", key="tiers", hint=hint)
    lines = "\n".join(f"{n} 级：{text}" for n, text in zip(TIERS, tiers, strict=True))
    return _fill(sections["tier", "前缀"], {"name": category.name, "tiers": lines})


def _definition(category: Category) -> str:
    return str(category.prompt.get("definition") or category.name)


def _fill(template: str, values: Mapping[str, str]) -> str:
    """Put each value in by one pass, so that a value is never searched for placeholders itself."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def _object_schema(key: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {key: dict(value)}, "required": [key], "additionalProperties": False}


def _read_json(reply: str, *, key: str, kind: type) -> Any:
    """The value of ``key`` in the outermost JSON object; engines without a schema like to wrap it in a fence."""
    start, end = reply.find("{"), reply.rfind("}")
    try:
        value = json.loads(reply[start : end + 1])[key] if 0 <= start < end else None
    except (ValueError, KeyError, RecursionError):
        return None
    return value if isinstance(value, kind) else None
