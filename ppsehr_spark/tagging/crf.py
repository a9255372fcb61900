"""The product's own tagger: a conditional random field over LAC's posteriors, trained on our hand-written notes.

Knows: CRFsuite, sentences, and how marginals become ranges. Must not know: rules, thresholds. Its labels are category
ids. Reference: J. Lafferty, A. McCallum and F. Pereira, "Conditional Random Fields", ICML 2001; N. Okazaki, "CRFsuite",
2007.

Sentences of one length share a batch: padding would reach LAC's backward layers and change what it says.
"""

from __future__ import annotations

import lzma
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pycrfsuite

from ppsehr_spark.domain.sentences import cut_windows, sentence_borders
from ppsehr_spark.domain.tagging import Tag
from ppsehr_spark.tagging.features import describe_sentence
from ppsehr_spark.tagging.lac import LacEncoder

_MAX_SENTENCE_CHARS, _OVERLAP_CHARS = 120, 20
_MAX_BATCH = 32
#: A reading less likely than this is not worth a line.
_FLOOR = 0.05
_OUTSIDE = "O"
_MAX_SPAN_CHARS = 100
#: Sentences remembered: clinical sentences recur, within a note and across notes.
_MEMO_SIZE = 50_000

Found = tuple[Tag, ...]


class CrfTagger:
    """One model, one thread; labels are category ids. It remembers what it said of each sentence."""

    def __init__(self, packed: bytes) -> None:
        """Load weights in CRFsuite's format, packed with xz."""
        self._encoder = LacEncoder()
        self._memo: dict[str, Found] = {}
        self._weights = lzma.decompress(packed)  # CRFsuite reads them where they lie
        self._crf = pycrfsuite.Tagger()
        self._crf.open_inmemory(self._weights)
        self._labels = [label for label in self._crf.labels() if label != _OUTSIDE]
        at = {label: index for index, label in enumerate(self._labels)}
        # a label that is never inside (a single character each time) has no column of its own
        self._places = {
            label[2:]: (column, at.get(f"I-{label[2:]}", len(self._labels)))
            for label, column in at.items()
            if label.startswith("B-")
        }

    def prepare(self, texts: Iterable[str]) -> None:
        """``Tagger.prepare``: what the texts share is computed once, and batches are filled across them."""
        self._learn({text[start:end] for text in texts for start, end in cut_sentences(text)})

    def tag(self, text: str) -> Sequence[Tag]:
        """``Tagger.tag``: readings with a probability of at least 0.05, sorted by start.

        Of a reading that two windows of one long sentence share, the surer one.
        """
        self.prepare([text])
        best: dict[tuple[int, int, str], float] = {}
        for start, end in cut_sentences(text):
            for tag in self._memo[text[start:end]]:
                place = (tag.start + start, tag.end + start, tag.label)
                best[place] = max(best.get(place, 0.0), tag.probability)
        return [Tag(*place, probability) for place, probability in sorted(best.items())]

    def _learn(self, wanted: set[str]) -> None:
        if len(self._memo) + len(wanted) > _MEMO_SIZE:
            self._memo = {s: found for s, found in self._memo.items() if s in wanted}
        by_length: defaultdict[int, list[str]] = defaultdict(list)
        for sentence in sorted(wanted - self._memo.keys()):
            by_length[len(sentence)].append(sentence)
        for group in by_length.values():
            for first in range(0, len(group), _MAX_BATCH):
                batch = group[first : first + _MAX_BATCH]
                posteriors = self._encoder.read(batch)
                self._memo.update((s, self._read(s, p)) for s, p in zip(batch, posteriors, strict=True))

    def _read(self, sentence: str, posterior: np.ndarray[Any, Any]) -> Found:
        self._crf.set(describe_sentence(sentence, posterior, self._encoder.labels))
        ask = self._crf.marginal
        marginals = np.zeros((len(sentence), len(self._labels) + 1))
        for at in range(len(sentence)):
            if ask(_OUTSIDE, at) <= 1.0 - _FLOOR:  # most characters of clinical prose belong to nothing
                marginals[at, :-1] = [ask(label, at) for label in self._labels]
        return _read_ranges(marginals, self._places)


def cut_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Sentences; an overlong one in windows that overlap."""
    borders = sentence_borders(text)
    for start, end in pairwise(borders):
        if end - start <= _MAX_SENTENCE_CHARS:
            yield start, end
        else:
            windows = cut_windows(text[start:end], max_chars=_MAX_SENTENCE_CHARS, overlap_chars=_OVERLAP_CHARS)
            yield from ((start + a, start + b) for a, b in windows)


def _read_ranges(marginals: np.ndarray[Any, Any], places: Mapping[str, tuple[int, int]]) -> Found:
    """Every range of one sentence that is likely enough, sorted.

    A range is as probable as its weakest character: first, inner, or the one that ends it.

    Args:
        marginals: (length, columns).
        places: label -> its columns of a first and of an inner character.
    """
    tags = (tag for label, columns in places.items() for tag in _read_label(marginals, label, *columns))
    return tuple(sorted(tags, key=lambda tag: (tag.start, tag.end)))


def _read_label(marginals: np.ndarray[Any, Any], label: str, begin: int, inside: int) -> Iterator[Tag]:
    length = len(marginals)
    for start in np.flatnonzero(marginals[:, begin] >= _FLOOR):
        weakest = marginals[start, begin]
        for end in range(start + 1, min(length, start + _MAX_SPAN_CHARS) + 1):
            goes_on = marginals[end, inside] if end < length else 0.0
            probability = min(weakest, 1.0 - goes_on)
            if probability >= _FLOOR:
                yield Tag(int(start), end, label, round(float(probability), 4))
            weakest = min(weakest, goes_on)
            if weakest < _FLOOR:
                break
