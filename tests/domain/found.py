"""What the rules alone accept in a text, by the shipped conf."""

from __future__ import annotations

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import compile_rules


def find_spans(text: str, category: str) -> list[Span]:
    """Final spans of one category, in order."""
    engine, note = compile_rules(read_conf_files()), Note("k", text)
    return [span for span in engine.finalise(note, engine.propose(note)) if span.category == category]


def find(text: str, category: str = "NAME") -> list[str]:
    """Their surfaces, as a reader would mark them."""
    return [text[span.start : span.end] for span in find_spans(text, category)]
