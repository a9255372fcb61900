"""The privacy ledger on Delta: ``control.privacy_ledger``, one chained row per step, by any number of processes.

Knows: how a ledger entry becomes a row and back. Must not know: what an event costs or whether it is admitted
(``privacy.ledger``), how writers exclude one another (``row_chain``, ``turns``), and which rows need not be read again
(``ledger_prefix``).

Crash points: ``ledger.before_KIND`` (decided, not committed) and ``ledger.after_KIND`` (committed, not answered), for
``reserve``, ``commit`` and ``release``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.ledger_prefix import Prefix, break_off, read_prefix, to_entries
from ppsehr_spark.lake.row_chain import append_row
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.table_care import checkpoint_table, compact_table
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.turns import take_turn
from ppsehr_spark.privacy.book import Book, Entry
from ppsehr_spark.privacy.ledger import Ledger
from ppsehr_spark.privacy.policy import Policy

#: Rows between two checkpoints, and between two compactions: what is opened is few log entries and few files, whatever
#: the number of commits.
CHECKPOINT_EVERY, COMPACT_EVERY = 16, 64
_COMPACT_BYTES = 512 << 10


@dataclass
class _Memory:
    """The newest verified prefix; replaced whole, so that threads see one or the other."""

    prefix: Prefix = dataclasses.field(default_factory=Prefix)


@dataclass(frozen=True)
class LedgerStore:
    """``privacy.ledger.Store`` on a lake."""

    lake: Lake
    _memory: _Memory = dataclasses.field(default_factory=_Memory, compare=False, repr=False)

    def entries(self) -> Sequence[Entry]:
        """All rows in order; refused when their chain is broken."""
        self.book()
        return read_entries(self.lake)

    def book(self) -> Book:
        """What all rows together mean; refused when their chain is broken."""
        table = self.lake.open(PRIVACY_LEDGER)
        return self._read(table).book if table else Book()

    def extend(self, kind: str, decide: Callable[[Book], Entry | None]) -> Entry | None:
        """Append what ``decide`` returns for exactly the book it was given; asked again when another was first."""
        last_hash, entry = "", None

        def propose(table: DeltaTable) -> Mapping[str, Any] | None:
            nonlocal last_hash, entry
            prefix = self._read(table)
            last_hash, entry = prefix.last_hash, decide(prefix.book)
            crash_point(f"ledger.before_{kind}")
            return None if entry is None else dataclasses.asdict(entry)

        self._prepare()
        with take_turn(self.lake, PRIVACY_LEDGER):
            row = append_row(
                self.lake, PRIVACY_LEDGER, propose, code="PRIVACY_LEDGER", find_last=lambda _table: last_hash
            )
            crash_point(f"ledger.after_{kind}")
            if row is not None and row["sequence"] % CHECKPOINT_EVERY == 0:
                _tidy(self.lake, is_compacted=row["sequence"] % COMPACT_EVERY == 0)
        return entry

    def _prepare(self) -> None:
        """Do what only a first call takes long for before others wait: all rows, and Arrow's import of pandas."""
        if self._memory.prefix.head is None:
            self.book()
            pa.array([0])

    def _read(self, table: DeltaTable) -> Prefix:
        """The verified rows of this snapshot; a ledger that has lost versions this process knew is refused."""
        known = self._memory.prefix
        if table.version() < known.version:  # another thread was faster, or somebody has cut off the log
            if (self.lake.version(PRIVACY_LEDGER) or 0) < known.version:
                raise break_off(known.last, "TRUNCATED")
            return read_prefix(table, Prefix())
        found = self._memory.prefix = read_prefix(table, known)
        return found


def open_ledger(lake: Lake, policy: Policy) -> Ledger:
    """The ledger of a lake under the caps of ``conf/privacy.toml`` (``privacy.policy.parse_policy``)."""
    return Ledger(LedgerStore(lake), policy)


def read_entries(lake: Lake) -> list[Entry]:
    """All rows in order, whatever state their chain is in; for verification only."""
    return list(to_entries(lake.read(PRIVACY_LEDGER).sort_by("sequence")))


def _tidy(lake: Lake, *, is_compacted: bool) -> None:
    """Write the small files of the last commits together; the row stands whether or not this succeeds."""
    try:
        if is_compacted:
            compact_table(lake, PRIVACY_LEDGER, target_bytes=_COMPACT_BYTES)
        checkpoint_table(lake, PRIVACY_LEDGER)
    except (InfrastructureError, DeltaError, OSError):
        return  # the next one tidies for both
