"""What a run of the annotate job adds up to, for the run summary.

Knows: receipts, verdicts and tokens. Must not know: text, keys.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from ppsehr_spark.domain.segments import OK
from ray_actors.unit_worker import Receipt
from ray_actors.usage import Usage


def tally_rows(rows: pa.Table) -> Counter[str]:
    """Named counts of segments, verdicts, tiers, extracted spans and outcomes in rows of phi.segment_annotations."""
    tally: Counter[str] = Counter(segments=rows.num_rows)
    for row in rows.select(["spans", "outcome", "verdicts"]).to_pylist():
        tally["extracted"] += len(row["spans"])
        if row["outcome"] != OK:
            tally[f"outcome_{row['outcome']}"] += 1
        for verdict in row["verdicts"]:
            tally[_NAMES[verdict["is_accepted"]]] += 1
    return tally


@dataclass
class AnnotateCounts:
    """Sums over one run.

    Attributes:
        n_open_before: open segments when the run began.
        n_open_after: segments without an answer at its end, given up or not; whoever answered the others.
        n_dead_letters: segments given up in this run.
        n_repeated: segments that this run put to an engine in vain: an attempt failed, its rows could not be stored, or
            another driver's answer was committed first. Counted in segments, whatever number of prompts one takes.
        n_taken_over: units that a dead or stalled driver held; it may have asked some of their segments.
        n_elsewhere: units that another driver held when this run ended.
        usage: tokens, those of failed attempts excluded (nobody reported them).
        tally: named counts of what was committed (``tally_rows``).
    """

    n_open_before: int = 0
    n_open_after: int = 0
    n_dead_letters: int = 0
    n_repeated: int = 0
    n_taken_over: int = 0
    n_elsewhere: int = 0
    usage: Usage = field(default_factory=Usage)
    tally: Counter[str] = field(default_factory=Counter)

    def add(self, receipt: Receipt) -> None:
        """Add what one unit cost."""
        self.usage += receipt.usage
        self.tally["ungrounded_quotes"] += receipt.n_ungrounded

    def to_dict(self) -> dict[str, int]:
        """Flat counts; names are the keys of the run record."""
        always = {name: self.tally[name] for name in ("segments", *_NAMES.values(), "extracted", "ungrounded_quotes")}
        outcomes = {name: count for name, count in sorted(self.tally.items()) if name.startswith("outcome_")}
        return {
            **always,
            **outcomes,
            "prompt_tokens": self.usage.prompt_tokens,
            "cached_tokens": self.usage.cached_tokens,
            "output_tokens": self.usage.output_tokens,
            "dead_letters": self.n_dead_letters,
            "open_segments": self.n_open_after,
            "repeated_calls": self.n_repeated,
            "taken_over_units": self.n_taken_over,
            "units_elsewhere": self.n_elsewhere,
        }


_NAMES = {True: "accepted", False: "rejected", None: "tiered"}
