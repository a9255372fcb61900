"""Gold of a public corpus, which labels some categories only and draws some borders otherwise than the guideline does.

Knows: how a prediction is read in the terms of such a corpus before it is scored. Must not know: files, which corpus.
What a corpus leaves open counts neither for nor against anybody, so that every annotator is judged by the same text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.evaluation.span_counts import Interval, merge_intervals, overlap_chars


@dataclass(frozen=True)
class PartialGold:
    """What a corpus says about one note.

    Attributes:
        spans: its mentions, in the guideline's terms.
        undecided: ranges where corpus and guideline do not decide; predictions that lie there and touch no mention of
            their category are left out.
        variants: other borders of a mention that are as right: range -> the mention's own range.
    """

    spans: tuple[Span, ...] = ()
    undecided: tuple[Interval, ...] = ()
    variants: Mapping[Interval, Interval] = field(default_factory=dict)


def settle_predictions(
    predicted: Iterable[Span], gold: PartialGold, *, categories: Collection[str]
) -> tuple[Span, ...]:
    """The predictions that count, with the borders the corpus would give them.

    Args:
        predicted: spans of any category.
        gold: of the same note.
        categories: those the corpus labels; predictions of others are left out.
    """
    undecided = merge_intervals(gold.undecided)
    settled = (_take_borders(span, gold) for span in predicted if span.category in categories)
    return tuple(span for span in settled if not _is_undecided(span, gold.spans, undecided))


def count_decided_chars(text_length: int, gold: PartialGold) -> int:
    """Code points of a note that the corpus decides about."""
    return text_length - sum(end - start for start, end in merge_intervals(gold.undecided))


def _take_borders(span: Span, gold: PartialGold) -> Span:
    own = gold.variants.get((span.start, span.end))
    is_known = own is not None and any((g.start, g.end) == own and g.category == span.category for g in gold.spans)
    return replace(span, start=own[0], end=own[1]) if own is not None and is_known else span


def _is_undecided(span: Span, gold: Sequence[Span], undecided: list[Interval]) -> bool:
    if not overlap_chars((span.start, span.end), undecided):
        return False
    return not any(g.category == span.category and g.overlaps(span) for g in gold)
