"""Cues: where a word, a pattern or a number of ``conf/tiers.toml`` counts for a span.

Knows: sentences, clauses, distances and numbers. Must not know: any medical word, any category; those are data.
Reference: annotation guideline v1, "Tiers" (a span is decided with its context).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ppsehr_spark.domain.first_characters import GuardedPattern, compile_guard
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import drop_invisible, fold_characters, has_invisible, normalise_pattern

#: Where a cue may stand relative to the span. ``whole_span``: the span consists of its words and nothing else;
#: ``around``: the sentence with ``SPAN_MARK`` in the place of the span, so that a pattern can name both sides.
PLACES = ("span", "whole_span", "before", "after", "around", "clause", "sentence", "note")
SPAN_MARK = "□"

_NUMERALS = {char: value for value, char in enumerate("零一二三四五六七八九十")} | {"两": 2}


def fold(text: str) -> str:
    """Half-width, simplified and upper-case, one code point for one: offsets stay those of ``text``."""
    return fold_characters(text, is_upper=True)


def compile_words(words: Sequence[str], patterns: Sequence[str] = (), masks: Sequence[str] = ()) -> re.Pattern[str]:
    """One alternation, longest word first; text inside a ``masks`` match never yields group ``hit``."""
    if words and not patterns and not masks and all(len(word) == 1 for word in words):
        return re.compile(f"(?P<hit>[{''.join(re.escape(fold(word)) for word in words)}])")
    longest_first = sorted({fold(word) for word in words}, key=lambda word: (-len(word), word))
    hits = [re.escape(word) for word in longest_first]
    # Python allows a group name once per expression: n and minus of the i-th pattern become n_i and minus_i.
    hits += [re.sub(r"\(\?P<(n|minus)>", rf"(?P<\1_{i}>", normalise_pattern(p)) for i, p in enumerate(patterns)]
    masked = [normalise_pattern(mask) for mask in masks]
    guard = compile_guard([*hits, *masked])
    body = "|".join([*(f"(?:{mask})" for mask in masked), f"(?P<hit>{'|'.join(hits)})"])
    has_small_letters = re.search(r"(?<![\\<a-z])[a-z]", body.replace("(?P<hit>", ""))
    return re.compile(f"{guard}(?:{body})", re.IGNORECASE if has_small_letters else 0)


@dataclass(frozen=True)
class Cue:
    """One named condition on a span and its note.

    Attributes:
        name: Chinese name, as the rules call it.
        where: one of ``PLACES``.
        search: words and patterns with their exceptions, ``None`` where only other conditions are asked.
        stop: what ends the reach of a cue between it and the span.
        within: farthest distance, in characters, that is looked at on each side of the span.
        at_least, below: bounds for the number ``n`` of the pattern (less the number ``minus`` where it has one).
        has_age: compare the note's own age where it is known instead of searching the text.
        sex: holds only for notes of this sex or of unknown sex.
        note_types: holds when the note's form contains one of these.
        rules: holds when another span of the note was decided by a rule whose id starts with one of these.
        any_of: other cues; holds when one of them does.
        all_of, none_of: other cues; holds when every one of ``all_of`` and not one of ``none_of`` does.
        is_near: see ``is_near``; told once, for it is asked for every span.
    """

    name: str
    where: str = "span"
    search: GuardedPattern | None = None
    stop: re.Pattern[str] | None = None
    within: int = 80
    at_least: float | None = None
    below: float | None = None
    has_age: bool = False
    sex: str = ""
    note_types: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    any_of: tuple[Cue, ...] = ()
    all_of: tuple[Cue, ...] = ()
    none_of: tuple[Cue, ...] = ()
    is_near: bool = False


def is_near(cue: Cue) -> bool:
    """True when only the text around the span counts: the frequent case, decided first."""
    others = (*cue.any_of, *cue.all_of, *cue.none_of)
    is_wider = cue.where == "note" or cue.has_age or bool(cue.sex or cue.note_types or cue.rules or others)
    return cue.search is not None and not is_wider


@dataclass(frozen=True)
class Borders:
    """What ends a sentence and a clause, and what opens the entry of one patient in a list of several.

    The opening holds the line break or sign before the entry.
    """

    sentence_end: GuardedPattern
    clause_end: GuardedPattern
    patient_start: GuardedPattern | None = None


@dataclass
class Scene:
    """One note while its tiers are decided: folded text, borders, what earlier rounds decided.

    A list of several patients (a handover, a register) has one section per patient, any other note has one: what
    the note says of one patient is not said of the next.
    """

    note: Note
    text: str
    borders: Borders
    sentence_ends: list[int]
    section_starts: list[int]
    has_invisible: bool = False
    decided: dict[int, Counter[str]] = field(default_factory=dict)
    note_cues: dict[tuple[str, int], bool] = field(default_factory=dict)
    last_place: tuple[int, int, bool] = (-1, -1, False)
    last_bounds: tuple[int, int] = (0, 0)
    clause_ends: list[int] | None = None

    @classmethod
    def of(cls, note: Note, *, borders: Borders) -> Scene:
        """Fold the note and find its borders once."""
        text = fold(note.text)
        size = len(text)
        ends = [m.start() for m in borders.sentence_end.find_all(text, 0, size) if m["hit"] is not None]
        # A line break before the text lets one pattern find the first entry as well as the others.
        entry = borders.patient_start
        starts = [m.start() for m in entry.find_all(f"\n{text}", 0, size + 1)] if entry else []
        return cls(note, text, borders, ends, starts[1:] if len(starts) > 1 else [], has_invisible(note.text))

    def _find_clause_ends(self) -> list[int]:
        """Where clauses end; looked for when a cue asks first, which it hardly does."""
        if self.clause_ends is None:
            found = self.borders.clause_end.find_all(self.text, 0, len(self.text))
            self.clause_ends = sorted({*self.sentence_ends, *[m.start() for m in found]})
        return self.clause_ends

    def remember(self, spans: Iterable[Span]) -> None:
        """Keep which rules decided the spans, per section."""
        self.decided = {}
        for span in spans:
            if span.tier_rule:
                self.decided.setdefault(self.section(span), Counter())[span.tier_rule] += 1

    def section(self, span: Span) -> int:
        """Number of the patient's section that the span stands in."""
        return bisect_right(self.section_starts, span.start)

    def cut(self, start: int, end: int) -> str:
        """What a reader sees of the range."""
        piece = self.text[start:end]
        return drop_invisible(piece) if self.has_invisible else piece

    def cut_section(self, number: int) -> str:
        """What a reader sees of one section."""
        starts = [0, *self.section_starts, len(self.text)]
        return self.cut(starts[number], starts[number + 1])

    def bounds(self, span: Span, *, is_clause: bool, within: int) -> tuple[int, int]:
        """Nearest borders around the span, at most ``within`` characters away on each side; the end is included."""
        place = (span.start, span.end, is_clause)
        if self.last_place != place:
            ends = self._find_clause_ends() if is_clause else self.sentence_ends
            left, right = bisect_left(ends, span.start), bisect_right(ends, span.end - 1)
            start = ends[left - 1] + 1 if left else 0
            end = ends[right] + 1 if right < len(ends) else len(self.text)
            self.last_place, self.last_bounds = place, (start, end)
        start, end = self.last_bounds
        return max(start, span.start - within), min(end, span.end + within)


def holds(cue: Cue, scene: Scene, span: Span) -> bool:
    """Whether the cue is true for this span of this note."""
    if cue.sex and scene.note.sex not in ("", cue.sex):
        return False
    if cue.is_near:
        return _holds_near(cue, scene=scene, span=span)
    for part in cue.any_of:
        if holds(part, scene, span):
            return True
    if cue.all_of or cue.none_of:
        is_out = any(holds(part, scene, span) for part in cue.none_of)
        return not is_out and all(holds(part, scene, span) for part in cue.all_of)
    if cue.rules:
        return _is_decided(cue.rules, scene=scene, span=span)
    if cue.note_types and any(kind in scene.note.note_type for kind in cue.note_types):
        return True
    if cue.has_age and scene.note.age_years is not None:
        return _is_in_range(float(scene.note.age_years), cue=cue)
    if cue.search is None:
        return False
    if cue.where == "note":
        key = (cue.name, scene.section(span))
        if key not in scene.note_cues:
            scene.note_cues[key] = _is_any(cue, scene.cut_section(key[1]))
        return scene.note_cues[key]
    return _holds_near(cue, scene=scene, span=span)


def _is_decided(prefixes: Sequence[str], *, scene: Scene, span: Span) -> bool:
    for rule, count in scene.decided.get(scene.section(span), {}).items():
        if rule.startswith(tuple(prefixes)) and count > (rule == span.tier_rule):
            return True
    return False


def _holds_near(cue: Cue, *, scene: Scene, span: Span) -> bool:
    """Pieces are cut out so that ``^`` and ``$`` of a pattern mean the borders of the place looked at."""
    if cue.where == "span":
        return _is_any(cue, scene.cut(span.start, span.end))
    if cue.where == "whole_span":
        return _is_covered(cue, scene.cut(span.start, span.end))
    start, end = scene.bounds(span, is_clause=cue.where == "clause", within=cue.within)
    if cue.where == "around":
        return _is_any(cue, f"{scene.cut(start, span.start)}{SPAN_MARK}{scene.cut(span.end, end)}")
    if cue.where == "before":
        piece = scene.cut(start, span.start)
        return any(_is_free(cue.stop, piece[hit.end("hit") :]) for hit in _hits(cue, piece))
    if cue.where == "after":
        piece = scene.cut(span.end, end)
        return any(_is_free(cue.stop, piece[: hit.start("hit")]) for hit in _hits(cue, piece))
    return _is_any(cue, scene.cut(start, end))


def _hits(cue: Cue, piece: str) -> list[re.Match[str]]:
    assert cue.search is not None
    if cue.search.search(piece) is None:
        return []
    return [
        hit for hit in cue.search.find_all(piece, 0, len(piece)) if hit["hit"] is not None and _is_number(hit, cue=cue)
    ]


def _is_any(cue: Cue, piece: str) -> bool:
    assert cue.search is not None
    first = cue.search.search(piece)
    if first is None:
        return False
    is_plain = cue.at_least is None and cue.below is None
    return True if is_plain and first["hit"] is not None else bool(_hits(cue, piece))


def _is_free(stop: re.Pattern[str] | None, gap: str) -> bool:
    return stop is None or all(match["hit"] is None for match in stop.finditer(gap))


def _is_covered(cue: Cue, text: str) -> bool:
    assert cue.search is not None
    rest = cue.search.regex.sub("", text)
    return rest != text and not rest.strip(" 、,·-/")


def _is_number(hit: re.Match[str], *, cue: Cue) -> bool:
    if cue.at_least is None and cue.below is None:
        return True
    written = {name.split("_")[0]: text for name, text in hit.groupdict("").items() if text}
    value, less = _number(written.get("n")), _number(written.get("minus", "0"))
    return value is not None and less is not None and _is_in_range(value - less, cue=cue)


def _is_in_range(value: float, *, cue: Cue) -> bool:
    return (cue.at_least is None or value >= cue.at_least) and (cue.below is None or value < cue.below)


def _number(written: str | None) -> float | None:
    if not written:
        return None
    if written in _NUMERALS:
        return float(_NUMERALS[written])
    try:
        return float(written)
    except ValueError:
        return None
