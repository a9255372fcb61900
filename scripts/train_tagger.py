"""Trains the product's tagger (``partition.tagger = "crf"``) on our own hand-written gold; minutes on one core.

Knows: gold folders, simulated notes, the product's features, CRFsuite's trainer. Must not know: rules, public corpora:
what is learned here ships with the product, so it may come from our own notes only. Same input, same machine, same
weights; LAC's posteriors may differ in the last bits elsewhere, so the weights are committed, not made at set-up.

    python scripts/train_tagger.py --folds 5                  # how good on files that were left out; writes nothing
    python scripts/train_tagger.py --out ppsehr_spark/tagging/weights/phi.crf.xz
"""

from __future__ import annotations

import argparse
import itertools
import lzma
import sys
import tempfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pycrfsuite
from tqdm import tqdm

from ppsehr_spark.config import load_settings
from ppsehr_spark.domain.notes import Span
from ppsehr_spark.domain.offsets import normalise_text
from ppsehr_spark.evaluation.gold_markup import GUIDELINE_CATEGORIES, parse_gold
from ppsehr_spark.synthesis.simulator import simulate_patient
from ppsehr_spark.tagging.crf import CrfTagger, cut_sentences
from ppsehr_spark.tagging.features import Features, describe_sentence
from ppsehr_spark.tagging.lac import LacEncoder

_DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
#: c1 drives most weights to zero (a smaller file), c2 holds the others down; chosen on files left out.
_PARAMETERS = {"c1": 0.1, "c2": 0.05, "max_iterations": 80}


@dataclass(frozen=True)
class Sentence:
    """Features and BIO labels of one sentence."""

    features: list[Features]
    labels: list[str]


@dataclass(frozen=True)
class Marked:
    """A normalised text with its mentions, as ranges of that text."""

    text: str
    mentions: tuple[tuple[int, int, str], ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Print figures or write weights; returns 0, 2 when there is nothing to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gold", nargs="+", type=Path, default=[_DATA / "gold", _DATA / "gold_train"], metavar="DIR")
    parser.add_argument("--simulated", type=int, default=150, help="simulated notes beside them (default 150)")
    parser.add_argument("--folds", type=int, default=0, help="leave out every k-th file in turn and score it")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="train on everything, write here")
    options = parser.parse_args(argv)
    files = [_read_file(path) for folder in options.gold for path in sorted(folder.glob("*.gold.txt"))]
    simulated = _simulate(options.simulated)
    if not files or not (options.folds or options.out):
        parser.error("no gold files, or neither --folds nor --out")
    encoder = LacEncoder()
    if options.folds:
        _cross_validate(files, simulated, n_folds=options.folds, encoder=encoder)
    if options.out:
        options.out.write_bytes(train([*itertools.chain(*files), *simulated], encoder))
        print(f"{options.out}: {options.out.stat().st_size} bytes", file=sys.stderr)
    return 0


def train(texts: Sequence[Marked], encoder: LacEncoder) -> bytes:
    """Weights in CRFsuite's format, packed with xz."""
    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.set_params(_PARAMETERS)
    for text in tqdm(texts, desc="features", unit="note", disable=None):
        for sentence in describe(text, encoder):
            trainer.append(sentence.features, sentence.labels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        trainer.train(str(path))
        return lzma.compress(path.read_bytes(), preset=9)


def describe(text: Marked, encoder: LacEncoder) -> Iterator[Sentence]:
    """Sentences of a text with features and labels."""
    labels = ["O"] * len(text.text)
    for start, end, category in text.mentions:
        labels[start:end] = [f"B-{category}", *[f"I-{category}"] * (end - start - 1)]
    for start, end in cut_sentences(text.text):
        sentence = text.text[start:end]
        features = describe_sentence(sentence, encoder.read([sentence])[0], encoder.labels)
        yield Sentence(features, labels[start:end])


def _read_file(path: Path) -> list[Marked]:
    notes = parse_gold(path.read_text(encoding="utf-8"), file=path.name)
    return [mark(note.text, note.spans) for note in notes]


def _simulate(n_notes: int) -> list[Marked]:
    settings = load_settings().simulate
    notes = (note for index in itertools.count() for note in simulate_patient(index, settings).notes)
    return [mark(note.text, note.spans) for note in itertools.islice(notes, n_notes)]


def mark(text: str, spans: Sequence[Span]) -> Marked:
    """The text as rules and taggers read it, with its spans moved along."""
    normalised = normalise_text(text)
    at = normalised.positions

    def place(position: int) -> int:
        return position if at is None else bisect_left(at, position)

    mentions = ((place(s.start), place(s.end), s.category) for s in spans)
    return Marked(normalised.text, tuple(m for m in mentions if m[0] < m[1]))


def _cross_validate(
    files: Sequence[Sequence[Marked]], simulated: Sequence[Marked], *, n_folds: int, encoder: LacEncoder
) -> None:
    """Strict precision and recall on files that the weights have not seen, for readings of at least one half."""
    hits, said, true = Counter[str](), Counter[str](), Counter[str]()
    for fold in range(n_folds):
        seen = [text for at, texts in enumerate(files) if at % n_folds != fold for text in texts]
        tagger = CrfTagger(train([*seen, *simulated], encoder))
        for text in itertools.chain(*(texts for at, texts in enumerate(files) if at % n_folds == fold)):
            found = {(t.start, t.end, t.label) for t in tagger.tag(text.text) if t.probability > 0.5}
            for counter, ranges in ((hits, found & set(text.mentions)), (said, found), (true, set(text.mentions))):
                counter.update(category for _, _, category in ranges)
    for category in GUIDELINE_CATEGORIES:
        precision, recall = hits[category] / max(1, said[category]), hits[category] / max(1, true[category])
        print(f"{category:10} P {100 * precision:.1f} R {100 * recall:.1f} of {true[category]}")


if __name__ == "__main__":
    sys.exit(main())
