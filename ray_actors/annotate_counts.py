"""What a run of the annotate job adds up to, for the run summary.

Knows: outcomes, verdicts and tokens. Must not know: text, keys.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ppsehr_spark.domain.segments import OK
from ray_actors.annotator import UnitResult
from ray_actors.usage import Usage


@dataclass
class AnnotateCounts:
    """Sums over the units of one run.

    Attributes:
        n_open_before: open segments when the run began.
        n_dead_letters: segments given up in this run; they stay open.
        usage: tokens.
        tally: named counts of segments, verdicts, tiers, extracted spans and outcomes.
    """

    n_open_before: int = 0
    n_dead_letters: int = 0
    usage: Usage = field(default_factory=Usage)
    tally: Counter[str] = field(default_factory=Counter)

    def add(self, result: UnitResult) -> None:
        """Add what one unit came to."""
        self.usage += result.usage
        self.tally["ungrounded_quotes"] += result.n_ungrounded
        for row in result.rows:
            self.tally["segments"] += 1
            self.tally["extracted"] += len(row["spans"])
            if row["outcome"] != OK:
                self.tally[f"outcome_{row['outcome']}"] += 1
            for verdict in row["verdicts"]:
                self.tally[_NAMES[verdict["is_accepted"]]] += 1

    @property
    def n_open_after(self) -> int:
        """Segments without an answer; the next run asks them."""
        return self.n_open_before - self.tally["segments"]

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
        }


_NAMES = {True: "accepted", False: "rejected", None: "tiered"}
