"""Tiers of spans by the ordered rules of ``conf/tiers.toml``: first match from tier 3 downward wins.

Knows: how a rule combines cues, and in which order categories are decided. Must not know: any medical word.
Reference: annotation guideline v1, "Tiers" and "Clarifications".
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ppsehr_spark.domain.first_characters import GuardedPattern
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import normalise_pattern
from ppsehr_spark.domain.taxonomy import ConfFiles, load_categories
from ppsehr_spark.domain.tier_cues import PLACES, Borders, Cue, Scene, compile_words, holds, is_near
from ppsehr_spark.errors import ConfigurationError

_FILE = "tiers.toml"
_HIGHEST = 3
#: Spans decided by these keep their tier: a person or the model knew more than the rules.
_DECIDED_ELSEWHERE = ("qwen", "person")
_CUE_KEYS = {
    "where", "words", "patterns", "except", "stop", "stop_patterns", "stop_except", "file", "within",
    "at_least", "below", "age", "sex", "note_types", "rules", "any_of", "all_of", "none_of",
}  # fmt: skip
_RULE_KEYS = {"id", "category", "tier", "all", "any", "none", "why"}


@dataclass(frozen=True)
class TierRule:
    """One line of the tier table.

    Attributes:
        id: ``CATEGORY.tier.reason``, stored with every span it decides.
        category: category id.
        tier: 1 low, 2 medium, 3 high.
        needs_all, needs_any, needs_none: cues that must all, at least one, not at all hold (empty: no condition).
    """

    id: str
    category: str
    tier: int
    needs_all: tuple[Cue, ...] = ()
    needs_any: tuple[Cue, ...] = ()
    needs_none: tuple[Cue, ...] = ()


class TierRules:
    """The compiled ``tiers.toml``.

    Args:
        files: conf files as text, keyed by path relative to ``conf/``.

    Raises:
        ConfigurationError: ``TIERS_FILE`` with key when the file is missing although a category is tiered, is not
            TOML, or names an unknown key, cue, place, word list or lexicon.
    """

    def __init__(self, files: ConfFiles) -> None:
        tiered = {category.id for category in load_categories(files).values() if category.is_tiered}
        if _FILE not in files and tiered:
            raise ConfigurationError("TIERS_FILE", file=_FILE, hint="a category is tiered but the file is missing")
        raw = _parse(files.get(_FILE, ""))
        cues = _read_cues(raw, files=files)
        self._rules = _read_rules(raw.get("rule", []), cues=cues)
        self._tiered = tiered | set(self._rules)
        self._order = {category: at for at, category in enumerate(self._rules)}
        self._asked = {category: _asked_rules(category, self._rules.get(category, ())) for category in self._tiered}
        self._borders = _read_borders(raw.get("text", {}))

    @property
    def tiered_categories(self) -> frozenset[str]:
        """Ids of the categories whose spans carry a tier."""
        return frozenset(self._tiered)

    def assign(self, note: Note, spans: Sequence[Span]) -> tuple[Span, ...]:
        """Set ``tier`` and ``tier_rule`` on spans of tiered categories; other spans come back unchanged.

        Categories are decided in the order of their first rule in the file, so later ones may ask what earlier
        ones found (a pregnancy with an STD). A category that asks about itself is decided twice.

        Args:
            note: the note the offsets refer to, with age, sex and form where known.
            spans: any order; the order is kept.

        Returns:
            As many spans as given; ``tier`` 3 by rule ``<category>.3.unsure`` where no rule matches:
            the careful choice stands until a model, asked because of that name, proposes another.
        """
        decided = list(spans)
        if not any(span.category in self._tiered for span in decided):
            return tuple(decided)
        scene = Scene.of(note, borders=self._borders)
        decided = [self._forget(span) for span in decided]
        for category in sorted({span.category for span in decided} & self._tiered, key=self._position):
            decided = self._decide_category(category, decided, scene=scene)
            if self._is_asked_again(category, decided):
                decided = self._decide_category(category, decided, scene=scene)
        return tuple(decided)

    def _forget(self, span: Span) -> Span:
        """Tiers of an earlier pass must not count as knowledge of this one."""
        is_stale = (
            span.category in self._tiered and span.tier_rule and not span.tier_rule.startswith(_DECIDED_ELSEWHERE)
        )
        return span.with_tier(None, "") if is_stale else span

    def _position(self, category: str) -> tuple[int, str]:
        return self._order.get(category, len(self._order)), category

    def _is_asked_again(self, category: str, spans: Sequence[Span]) -> bool:
        """Whether a rule of the category asks for a decision of the same category that was now made."""
        asked = self._asked[category]
        return bool(asked) and any(span.tier_rule.startswith(asked) for span in spans if span.category == category)

    def _decide_category(self, category: str, spans: Sequence[Span], *, scene: Scene) -> list[Span]:
        scene.remember(spans)
        return [self._decide(scene, span) if span.category == category else span for span in spans]

    def _decide(self, scene: Scene, span: Span) -> Span:
        if span.tier is not None and span.tier_rule.startswith(_DECIDED_ELSEWHERE):
            return span
        known: dict[str, bool] = {}
        for rule in self._rules.get(span.category, ()):
            if _matches(rule, scene=scene, span=span, known=known):
                return span.with_tier(rule.tier, rule.id)
        return span.with_tier(_HIGHEST, f"{span.category}.{_HIGHEST}.unsure")


def _matches(rule: TierRule, *, scene: Scene, span: Span, known: dict[str, bool]) -> bool:
    """Whether the rule decides the span; ``known`` keeps what each cue said so that rules share the work."""
    for cues, wanted in ((rule.needs_all, True), (rule.needs_none, False)):
        for cue in cues:
            if cue.name not in known:
                known[cue.name] = holds(cue, scene, span)
            if known[cue.name] is not wanted:
                return False
    for cue in rule.needs_any:
        if cue.name not in known:
            known[cue.name] = holds(cue, scene, span)
        if known[cue.name]:
            return True
    return not rule.needs_any


def _asked_rules(category: str, rules: Iterable[TierRule]) -> tuple[str, ...]:
    """Prefixes of rule ids of the category itself that its rules ask for."""
    named = [cue for rule in rules for cue in (*rule.needs_all, *rule.needs_any, *rule.needs_none)]
    asked = {rule for cue in named for part in _parts(cue) for rule in part.rules}
    return tuple(sorted(rule for rule in asked if rule.startswith(f"{category}.")))


def _parts(cue: Cue) -> Iterable[Cue]:
    """The cue and all it is made of."""
    yield cue
    for part in (*cue.any_of, *cue.all_of, *cue.none_of):
        yield from _parts(part)


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("TIERS_FILE", file=_FILE, hint=f"not valid TOML: {error}") from None


def _read_borders(entry: Mapping[str, Any]) -> Borders:
    try:
        starts = entry.get("patient_starts", ())
        return Borders(
            sentence_end=GuardedPattern(
                compile_words(entry.get("sentence_ends", ["。", "\n"]), masks=entry.get("sentence_ends_except", ()))
            ),
            clause_end=GuardedPattern(compile_words(entry.get("clause_ends", [","]))),
            patient_start=GuardedPattern(re.compile("|".join(map(normalise_pattern, starts)))) if starts else None,
        )
    except re.error:
        raise _wrong("text.patient_starts", "a pattern is not a valid regular expression") from None


def _wrong(key: str, hint: str) -> ConfigurationError:
    return ConfigurationError("TIERS_FILE", file=_FILE, key=key, hint=hint)


def _expand(words: Iterable[str], *, lists: Mapping[str, Sequence[str]], key: str) -> list[str]:
    """Replace ``@name`` by the words of that list under ``[words]`` (lists may use lists, to any depth)."""
    found: list[str] = []
    for word in words:
        if word.startswith("@"):
            if word[1:] not in lists:
                raise _wrong(key, "names a word list that [words] does not have")
            rest = {name: members for name, members in lists.items() if name != word[1:]}
            found += _expand(lists[word[1:]], lists=rest, key=key)
        else:
            found.append(word)
    return found


def _read_cues(raw: Mapping[str, Any], *, files: ConfFiles) -> dict[str, Cue]:
    lists = raw.get("words", {})
    cues: dict[str, Cue] = {}
    for name, entry in raw.get("cue", {}).items():
        any_of, all_of, none_of = (
            _named_cues(entry.get(field, ()), cues=cues, key=f"cue.{name}.{field}")
            for field in ("any_of", "all_of", "none_of")
        )
        cue = _read_cue(name, entry, lists=lists, files=files)
        whole = replace(cue, any_of=any_of, all_of=all_of, none_of=none_of)
        cues[name] = replace(whole, is_near=is_near(whole))
    return cues


def _named_cues(names: Sequence[str], *, cues: Mapping[str, Cue], key: str) -> tuple[Cue, ...]:
    if any(name not in cues for name in names):
        raise _wrong(key, "names a cue that does not stand above it in the file")
    return tuple(cues[name] for name in names)


def _read_cue(name: str, entry: Mapping[str, Any], *, lists: Mapping[str, Sequence[str]], files: ConfFiles) -> Cue:
    key = f"cue.{name}"
    if unknown := sorted(set(entry) - _CUE_KEYS):
        raise _wrong(f"{key}.{unknown[0]}", "unknown key")
    if entry.get("where", "span") not in PLACES:
        raise _wrong(f"{key}.where", f"must be one of {', '.join(PLACES)}")
    words = [*_expand(entry.get("words", ()), lists=lists, key=key), *_lexicon(entry.get("file"), files, key)]
    stops = _expand(entry.get("stop", ()), lists=lists, key=key)
    stop_patterns = entry.get("stop_patterns", ())
    masks = [re.escape(word) for word in _expand(entry.get("stop_except", ()), lists=lists, key=key)]
    exceptions = entry.get("except", ())
    patterns = entry.get("patterns", ())
    try:
        return Cue(
            name=name,
            where=entry.get("where", "span"),
            search=GuardedPattern(compile_words(words, patterns, exceptions)) if words or patterns else None,
            stop=compile_words(stops, stop_patterns, masks) if stops or stop_patterns else None,
            within=entry.get("within", 80),
            at_least=entry.get("at_least"),
            below=entry.get("below"),
            has_age=entry.get("age", False),
            sex=entry.get("sex", ""),
            note_types=tuple(entry.get("note_types", ())),
            rules=tuple(entry.get("rules", ())),
        )
    except re.error:
        raise _wrong(key, "a pattern is not a valid regular expression") from None


def _lexicon(path: str | None, files: ConfFiles, key: str) -> list[str]:
    if path is None:
        return []
    if path not in files:
        raise _wrong(f"{key}.file", "names a lexicon that conf/ does not have")
    lines = (line.split("\t")[0].strip() for line in files[path].splitlines())
    return [term for term in lines if term and not term.startswith("#")]


def _read_rules(entries: Sequence[Mapping[str, Any]], *, cues: Mapping[str, Cue]) -> dict[str, tuple[TierRule, ...]]:
    rules: dict[str, list[TierRule]] = {}
    for entry in entries:
        rule = _read_rule(entry, cues=cues)
        rules.setdefault(rule.category, []).append(rule)
    return {category: tuple(sorted(found, key=lambda rule: -rule.tier)) for category, found in rules.items()}


def _read_rule(entry: Mapping[str, Any], *, cues: Mapping[str, Cue]) -> TierRule:
    key = f"rule.{entry.get('id', '?')}"
    if unknown := sorted(set(entry) - _RULE_KEYS):
        raise _wrong(f"{key}.{unknown[0]}", "unknown key")
    if entry.get("tier") not in (1, 2, 3):
        raise _wrong(f"{key}.tier", "must be 1, 2 or 3")
    if not str(entry.get("id", "")).startswith(f"{entry.get('category')}.{entry['tier']}."):
        raise _wrong(key, "id must start with category and tier")

    needed = {
        field: _named_cues(entry.get(field, ()), cues=cues, key=f"{key}.{field}") for field in ("all", "any", "none")
    }
    return TierRule(entry["id"], entry["category"], entry["tier"], needed["all"], needed["any"], needed["none"])
