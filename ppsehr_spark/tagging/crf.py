"""The product's own tagger: a conditional random field over LAC's posteriors, trained on our hand-written notes.

Knows: its weights (``weights/``, made by ``scripts/train_tagger.py``) and CRFsuite. Must not know: rules, thresholds.
Its labels are category ids. Reference: J. Lafferty, A. McCallum and F. Pereira, "Conditional Random Fields", ICML 2001;
N. Okazaki, "CRFsuite", 2007.
"""

from __future__ import annotations

import lzma
from importlib import resources
from typing import Any

import numpy as np
import pycrfsuite

from ppsehr_spark.tagging.features import describe_sentence
from ppsehr_spark.tagging.lac import Found, LacEncoder, SentenceTagger, read_ranges

WEIGHTS = "phi.crf.xz"
_MAX_SPAN_CHARS = 100


class CrfTagger(SentenceTagger):
    """One model, one thread; labels are category ids."""

    def __init__(self, weights: bytes | None = None) -> None:
        """Load the weights that come with the package, or others (CRFsuite's format, not compressed)."""
        super().__init__(LacEncoder())
        packed = (
            (resources.files("ppsehr_spark.tagging") / "weights" / WEIGHTS).read_bytes() if weights is None else b""
        )
        self._crf = pycrfsuite.Tagger()
        self._crf.open_inmemory(weights or lzma.decompress(packed))
        self._labels = [label for label in self._crf.labels() if label != "O"]
        at = {label: index for index, label in enumerate(self._labels)}
        # a label that is never inside (a single character each time) has no column of its own
        self._places = {
            label[2:]: (column, at.get(f"I-{label[2:]}", len(self._labels)))
            for label, column in at.items()
            if label.startswith("B-")
        }

    def _read(self, sentence: str, posterior: np.ndarray[Any, Any]) -> Found:
        self._crf.set(describe_sentence(sentence, posterior, self._encoder.labels))
        marginals = np.zeros((len(sentence), len(self._labels) + 1))
        for column, label in enumerate(self._labels):
            marginals[:, column] = [self._crf.marginal(label, at) for at in range(len(sentence))]
        return read_ranges(marginals, self._places, max_chars=_MAX_SPAN_CHARS)
