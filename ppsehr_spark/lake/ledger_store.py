"""The privacy ledger on Delta: ``control.privacy_ledger``, one chained row per step, by any number of processes.

Knows: how a ledger entry becomes a row and back. Must not know: what an event costs or whether it is admitted
(``privacy.ledger``), and how writers exclude one another (``row_chain``).

Crash points: ``ledger.before_KIND`` (decided, not committed) and ``ledger.after_KIND`` (committed, not answered), for
``reserve``, ``commit`` and ``release``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deltalake import DeltaTable

from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.row_chain import append_row, find_break
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.book import Entry
from ppsehr_spark.privacy.ledger import Ledger
from ppsehr_spark.privacy.policy import Policy

_FIELDS = tuple(field.name for field in dataclasses.fields(Entry))


@dataclass(frozen=True)
class LedgerStore:
    """``privacy.ledger.Store`` on a lake."""

    lake: Lake

    def entries(self) -> Sequence[Entry]:
        """All rows in order; refused when their chain is broken."""
        table = self.lake.open(PRIVACY_LEDGER)
        return _read(self.lake, table) if table else []

    def extend(self, kind: str, decide: Callable[[Sequence[Entry]], Entry | None]) -> Entry | None:
        """Append what ``decide`` returns for exactly the rows it was given; asked again when another was first."""

        def propose(table: DeltaTable) -> Mapping[str, Any] | None:
            entry = decide(_read(self.lake, table))
            crash_point(f"ledger.before_{kind}")
            return None if entry is None else dataclasses.asdict(entry)

        row = append_row(self.lake, PRIVACY_LEDGER, propose, code="PRIVACY_LEDGER")
        crash_point(f"ledger.after_{kind}")
        return None if row is None else _to_entry(row)


def open_ledger(lake: Lake, policy: Policy) -> Ledger:
    """The ledger of a lake under the caps of ``conf/privacy.toml`` (``privacy.policy.parse_policy``)."""
    return Ledger(LedgerStore(lake), policy)


def read_entries(lake: Lake) -> list[Entry]:
    """All rows in order, whatever state their chain is in; for verification only."""
    rows = sorted(lake.read(PRIVACY_LEDGER).to_pylist(), key=lambda row: int(row["sequence"]))
    return [_to_entry(row) for row in rows]


def _read(lake: Lake, table: DeltaTable) -> list[Entry]:
    """Rows of this snapshot, in order, after a check of the whole chain: no budget is read off a forged ledger."""
    rows = sorted(lake.read(PRIVACY_LEDGER, version=table.version()).to_pylist(), key=lambda row: int(row["sequence"]))
    report = find_break(PRIVACY_LEDGER, rows, last=table.transaction_version(PRIVACY_LEDGER.full_name) or 0)
    if not report.is_whole:
        hint = "the ledger was changed by something else; run scripts/verify_ledger.py"
        raise QualityGateError("PRIVACY_LEDGER", row=report.broken_at, reason=report.reason, hint=hint)
    return [_to_entry(row) for row in rows]


def _to_entry(row: Mapping[str, Any]) -> Entry:
    return Entry(**{name: row[name] for name in _FIELDS})
