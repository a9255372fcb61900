"""What an engine with more knowledge scores on reviewed notes, computed again only for the notes it can touch.

Knows: strict counts per note and how they become the gate's figures. Must not know: who proposed a change, tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ppsehr_spark.domain.knowledge.applying import apply_entries
from ppsehr_spark.domain.knowledge.entries import KnowledgeEntry
from ppsehr_spark.domain.knowledge.gate import Figures
from ppsehr_spark.domain.knowledge.mistakes import ReviewedNote
from ppsehr_spark.domain.knowledge.touching import touch_of
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.domain.taxonomy import ConfFiles

#: name -> (true spans, predicted spans, spans that are both)
Tally = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Measured:
    """One set of entries on the reviewed notes: what was predicted, and what that is worth."""

    entries: tuple[KnowledgeEntry, ...]
    predicted: Mapping[str, tuple[Span, ...]]
    tallies: Mapping[str, Tally]
    figures: Figures


def annotate_note(engine: RuleEngine, note: Note) -> tuple[Span, ...]:
    """Final spans of the rules alone."""
    return engine.finalise(note, engine.propose(note))


def measure_entries(
    files: ConfFiles,
    entries: Sequence[KnowledgeEntry],
    reviewed: Sequence[ReviewedNote],
    *,
    known: Measured | None = None,
) -> Measured:
    """Rules with ``entries`` over the reviewed notes.

    Args:
        known: another set of entries over the same files and notes; only notes that the difference touches are
            annotated again.

    Raises:
        ConfigurationError: the entries do not compile.
    """
    engine = compile_rules(apply_entries(files, entries))
    touch = touch_of(known.entries, entries) if known else None
    predicted: dict[str, tuple[Span, ...]] = {}
    tallies: dict[str, Tally] = {}
    for item in reviewed:
        key = item.note.note_key
        if known and touch and not touch.holds(item.note.text):
            predicted[key], tallies[key] = known.predicted[key], known.tallies[key]
        else:
            predicted[key] = annotate_note(engine, item.note)
            tallies[key] = count_note(item, predicted[key])
    return Measured(tuple(entries), predicted, tallies, sum_figures(tallies, _sources(reviewed)))


def _sources(reviewed: Sequence[ReviewedNote]) -> dict[str, str]:
    return {item.note.note_key: item.source for item in reviewed}


def count_note(item: ReviewedNote, predicted: Sequence[Span]) -> Tally:
    """Strict counts per category; per tiered one also ``CATEGORY.tier``: true spans found at their tier or above."""
    judged = [span for span in predicted if item.is_judged(span)]
    true, said = ({(s.category, s.start, s.end): s.tier for s in spans} for spans in (item.spans, judged))
    tally: dict[str, tuple[int, int, int]] = {}
    for place in {**true, **said}:
        _add(tally, place[0], place in true, place in said, place in true and place in said)
        if true.get(place):
            is_safe = place in said and (said[place] or 0) >= (true[place] or 0)
            _add(tally, f"{place[0]}.tier", True, True, is_safe)
    return tally


def sum_figures(tallies: Mapping[str, Tally], sources: Mapping[str, str]) -> Figures:
    """Figures over notes.

    Args:
        sources: note key -> where its true spans come from. Of several sources each has figures of its own as well
            (``NAME@gold``), so that many wrong corrections never outvote gold.
    """
    several = len(set(sources.values())) > 1
    sums: dict[str, tuple[int, int, int]] = {}
    for key, tally in tallies.items():
        for name, counts in tally.items():
            for group in (name, f"{name}@{sources[key]}") if several else (name,):
                _add(sums, group, *counts)
    f1 = {name: _f1(*counts) for name, counts in sorted(sums.items())}
    scored = [f1[name] for name, counts in sorted(sums.items()) if counts[0] and name.isidentifier()]
    return Figures(sum(scored) / len(scored) if scored else 1.0, f1, {k: _balance(t) for k, t in tallies.items()})


def _add(sums: dict[str, tuple[int, int, int]], name: str, n_true: int, n_said: int, n_agreed: int) -> None:
    known = sums.get(name, (0, 0, 0))
    sums[name] = (known[0] + n_true, known[1] + n_said, known[2] + n_agreed)


def _f1(n_true: int, n_said: int, n_agreed: int) -> float:
    return 2 * n_agreed / (n_true + n_said) if n_true + n_said else 1.0


def _balance(tally: Tally) -> int:
    """Right spans less wrong ones."""
    return sum(2 * agreed - said for name, (_, said, agreed) in tally.items() if "." not in name)
