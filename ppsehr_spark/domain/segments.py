"""Which text a model is asked about, and what its answers do to the spans.

Knows: doubtful spans, windows of text, and keys that make equal questions one question. Must not know: prompts,
engines, tables. A segment key is an HMAC over everything the model sees (task, text, note type, candidates), so the
same copied-forward sentence in a thousand notes is asked once; prompt and model versions are columns, not key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ppsehr_spark.domain.identity import keyed_hash
from ppsehr_spark.domain.notes import Note, Span, resolve_overlaps
from ppsehr_spark.domain.sentences import (
    cut_windows,
    sentence_around,
    sentence_borders,
    trim_blank,
    widen_sentences,
)
from ppsehr_spark.domain.taxonomy import Category
from ppsehr_spark.errors import ConfigurationError

JUDGE, EXTRACT, TIER = "judge", "extract", "tier"
SCOPES = ("doubtful", "all", "none")
#: Outcome of a reply that counts; every other outcome leaves the rules' own decision in force.
OK = "ok"


class SegmentSettings(Protocol):
    """The part of the partition settings that cutting depends on (lengths in code points)."""

    @property
    def qwen_scope(self) -> str: ...
    @property
    def max_segment_chars(self) -> int: ...
    @property
    def overlap_chars(self) -> int: ...
    @property
    def context_chars(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Segment:
    """One question to the model.

    Attributes:
        key: HMAC over task, text, note type and candidates.
        task: ``judge``, ``extract`` or ``tier``.
        text: exactly ``note.text[start:end]``.
        note_type: context the model sees.
        candidates: spans in doubt; offsets in ``text``. Empty for ``extract``.
        start, end: code points of the note.
    """

    key: str
    task: str
    text: str
    note_type: str
    candidates: tuple[Span, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The model's word on one candidate; offsets in the segment.

    Attributes:
        is_accepted: ``None`` where it was asked for a tier only.
        log_odds: log p(yes) - log p(no), natural logarithm; 0 where it was asked for a tier.
        tier: 1-3, or ``None`` where no tier was asked for.
    """

    start: int
    end: int
    category: str
    is_accepted: bool | None = None
    log_odds: float = 0.0
    tier: int | None = None


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """What the model said of one segment at one place of a note.

    Attributes:
        start, end: the occurrence, code points of the note.
        verdicts: answers per candidate, offsets in the segment; table rows with the same names serve as well.
        spans: grounded extractions, offsets in the segment.
        outcome: ``ok`` or the reason code why the reply does not count.
    """

    start: int
    end: int
    verdicts: tuple[Verdict | Mapping[str, Any], ...] = ()
    spans: tuple[Span, ...] = ()
    outcome: str = OK


def plan_segments(
    note: Note,
    spans: Sequence[Span],
    *,
    categories: Mapping[str, Category],
    settings: SegmentSettings,
    hmac_key: bytes,
) -> list[Segment]:
    """List the questions this note gives rise to, sorted by task and position.

    Scope ``doubtful`` asks about spans whose confidence lies in [doubt_from, doubt_to) of their category (``judge``)
    and about tiers whose rule ends with ``.unsure`` (``tier``); ``all`` adds ``extract`` windows over the whole
    text; ``none`` asks nothing. A category is asked about only in its ``model_tasks``. A span too long for a segment
    is left to the rules.

    Raises:
        ConfigurationError: ``QWEN_SCOPE`` for an unknown scope, ``SEGMENT_SIZE`` for an overlap without progress.
    """
    if settings.qwen_scope not in SCOPES:
        raise ConfigurationError("QWEN_SCOPE", hint=f"partition.qwen_scope is one of {', '.join(SCOPES)}")
    if settings.qwen_scope == "none" or not note.text:
        return []
    doubtful = [s for s in spans if _is_doubtful(s, categories)]
    unsure = [s for s in spans if _is_unsure(s, categories)]
    borders = sentence_borders(note.text)
    planned = [(JUDGE, w, group) for w, group in _group(note.text, doubtful, borders=borders, settings=settings)]
    planned += [(TIER, w, group) for w, group in _group(note.text, unsure, borders=borders, settings=settings)]
    if settings.qwen_scope == "all" and any(EXTRACT in category.model_tasks for category in categories.values()):
        planned += [(EXTRACT, window, ()) for window in _extract_windows(note.text, settings)]
    return [_make_segment(note, task, window, group, hmac_key) for task, window, group in planned]


def segment_key(hmac_key: bytes, *, task: str, text: str, note_type: str, candidates: Sequence[Span]) -> str:
    """HMAC (32 hex digits) over every field the model sees."""
    marked = [(c.start, c.end, c.category) for c in candidates]
    return keyed_hash(hmac_key, "segment", json.dumps([task, note_type, marked, text], ensure_ascii=False))


def apply_results(note: Note, rule_spans: Sequence[Span], results: Sequence[SegmentResult]) -> tuple[Span, ...]:
    """Lay the model's answers over the rules' spans; the caller finalises the outcome.

    Accepted candidates become certain, rejected ones vanish, tiers are replaced, and extracted spans join where the
    rules have nothing. A result whose outcome is not ``ok`` changes nothing. Where two answers on one span differ,
    acceptance and the higher tier win, because a leak weighs more than a redaction too many.
    """
    counted = [r for r in results if r.outcome == OK]
    verdicts = _verdicts_by_place(counted)
    judged = [_apply_verdict(s, verdicts.get((s.start, s.end, s.category))) for s in rule_spans]
    kept = [s for s in judged if s is not None]
    found = _extracted(counted, n_chars=len(note.text))
    return _merge_sorted(kept, resolve_overlaps(found, {}))


def _is_doubtful(span: Span, categories: Mapping[str, Category]) -> bool:
    category = categories.get(span.category)
    if category is None or JUDGE not in category.model_tasks:
        return False
    return category.doubt_from <= span.confidence < category.doubt_to


def _is_unsure(span: Span, categories: Mapping[str, Category]) -> bool:
    category = categories.get(span.category)
    if category is None or TIER not in category.model_tasks:
        return False
    return category.is_tiered and span.tier_rule.endswith(".unsure")


_Window = tuple[int, int]


def _group(
    text: str, spans: Sequence[Span], *, borders: list[int], settings: SegmentSettings
) -> Iterator[tuple[_Window, tuple[Span, ...]]]:
    """Windows of whole sentences with the candidates they hold; a candidate belongs to one window only."""
    pending: list[Span] = []
    window = (0, 0)
    for span in sorted(spans, key=lambda s: (s.start, s.end, s.category)):
        if pending and window[0] <= span.start and span.end <= window[1]:
            pending.append(span)
            continue
        if pending:
            yield _tighten(text, window, pending), tuple(pending)
            pending = []
        if span.end - span.start <= settings.max_segment_chars:
            pending, window = [span], _window_for(span, borders=borders, settings=settings)
    if pending:
        yield _tighten(text, window, pending), tuple(pending)


def _tighten(text: str, window: _Window, group: Sequence[Span]) -> _Window:
    """The window without blank ends, never narrower than its candidates."""
    start, end = trim_blank(text, start=window[0], end=window[1])
    return min(start, group[0].start), max(end, *(s.end for s in group))


def _window_for(span: Span, *, borders: list[int], settings: SegmentSettings) -> _Window:
    """The sentence of the span, widened when short; inside an overlong sentence a cut that leaves context before."""
    limit = settings.max_segment_chars
    start, end = sentence_around(borders, start=span.start, end=span.end)
    if end - start <= limit:
        # whole sentences recur across notes, their neighbours less so: only a scrap is widened
        return widen_sentences(borders, start=start, end=end, at_least=settings.context_chars // 2, at_most=limit)
    before = min(settings.context_chars, limit - (span.end - span.start))
    cut = max(start, span.start - before)
    return cut, min(end, cut + limit)


def _extract_windows(text: str, settings: SegmentSettings) -> Iterator[_Window]:
    for start, end in cut_windows(text, max_chars=settings.max_segment_chars, overlap_chars=settings.overlap_chars):
        trimmed = trim_blank(text, start=start, end=end)
        if trimmed[0] < trimmed[1]:
            yield trimmed


def _make_segment(note: Note, task: str, window: _Window, group: Iterable[Span], hmac_key: bytes) -> Segment:
    start, end = window
    text = note.text[start:end]
    candidates = tuple([s.moved(s.start - start, s.end - start) for s in group])
    key = segment_key(hmac_key, task=task, text=text, note_type=note.note_type, candidates=candidates)
    return Segment(key, task, text, note.note_type, candidates, start, end)


def _verdicts_by_place(results: Iterable[SegmentResult]) -> dict[tuple[int, int, str], Verdict]:
    """One verdict per span of the note: acceptance and tier may come from two tasks."""
    merged: dict[tuple[int, int, str], Verdict] = {}
    for result in results:
        for given in result.verdicts:
            verdict = given if isinstance(given, Verdict) else _verdict_of(given)
            place = (verdict.start + result.start, verdict.end + result.start, verdict.category)
            merged[place] = _join_verdicts(merged[place], verdict) if place in merged else verdict
    return merged


def _verdict_of(row: Mapping[str, Any]) -> Verdict:
    """The Verdict of a table row; absent values take their defaults."""
    return Verdict(row["start"], row["end"], row["category"], row["is_accepted"], row["log_odds"] or 0.0, row["tier"])


def _join_verdicts(one: Verdict, other: Verdict) -> Verdict:
    answers = [v.is_accepted for v in (one, other) if v.is_accepted is not None]
    tiers = [v.tier for v in (one, other) if v.tier is not None]
    return replace(
        one,
        is_accepted=any(answers) if answers else None,
        log_odds=max((one.log_odds, other.log_odds), key=abs),
        tier=max(tiers) if tiers else None,
    )


def _apply_verdict(span: Span, verdict: Verdict | None) -> Span | None:
    if verdict is None:
        return span
    if verdict.is_accepted is False:
        return None
    if verdict.is_accepted:
        span = replace(span, source=f"{span.source}+qwen", confidence=1.0)
    if verdict.tier is not None and span.tier is not None:
        span = replace(span, tier=verdict.tier, tier_rule=f"qwen.{span.category}.{verdict.tier}")
    return span


def _extracted(results: Iterable[SegmentResult], *, n_chars: int) -> list[Span]:
    """Extractions in note offsets, once each; what lies outside its segment is a defect of the caller and dropped."""
    placed = dict.fromkeys(
        span.moved(span.start + result.start, span.end + result.start)
        for result in results
        for span in result.spans
        if 0 <= span.start < span.end <= result.end - result.start
    )
    return [span for span in placed if span.end <= n_chars]


def _merge_sorted(kept: Sequence[Span], found: Sequence[Span]) -> tuple[Span, ...]:
    """Both lists by position, without the found spans that touch a kept one."""
    taken = sorted(kept, key=lambda s: (s.start, s.end))
    free: list[Span] = []
    at = 0
    for span in sorted(found, key=lambda s: s.start):
        while at < len(taken) and taken[at].end <= span.start:
            at += 1
        if at == len(taken) or taken[at].start >= span.end:
            free.append(span)
    return tuple(sorted([*taken, *free], key=lambda s: (s.start, s.end)))
