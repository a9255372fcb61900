"""A ledger recomputed from its rows alone: chain of hashes, steps, figures and caps, and what the rows cost.

Knows: ``control.privacy_ledger``. Must not know: today's caps, any other table, who asks (``scripts/verify_ledger.py``,
``ppsehr budget verify``).
"""

from __future__ import annotations

from dataclasses import dataclass

from ppsehr_spark.lake.ledger_store import read_entries
from ppsehr_spark.lake.row_chain import ChainReport, verify_rows
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.verification import Verification, verify_entries


@dataclass(frozen=True)
class LedgerCheck:
    """What was found in the hashes, and in what the rows say."""

    chain: ChainReport
    found: Verification

    @property
    def is_sound(self) -> bool:
        """Every hash, step and figure holds."""
        return self.chain.is_whole and not self.found.faults


def check_ledger(lake: Lake) -> LedgerCheck:
    """Read and recompute everything."""
    return LedgerCheck(verify_rows(lake, PRIVACY_LEDGER), verify_entries(read_entries(lake)))


def describe_check(check: LedgerCheck) -> list[str]:
    """Every fault with its row and reason code, what was recomputed, and the verdict."""
    chain, found = check.chain, check.found
    lines = [] if chain.is_whole else [f"FAULT row {chain.broken_at}: {chain.reason} (chain of hashes)"]
    lines += [f"FAULT row {fault.row}: {fault.reason}" for fault in found.faults]
    lines.append(f"rows {found.n_rows}, releases {found.n_committed}, open reservations {found.n_open} (spent)")
    if found.cost:
        stated = found.cost.stated
        lines.append(f"epsilon {stated.epsilon:.6f} at delta {stated.delta:g}, recomputed by {found.cost.accountant}")
        lines.append(f"unit {stated.unit}, neighbouring {stated.neighbouring}")
        if found.cost.pld_epsilon is not None:
            lines.append(f"PLD, tighter: epsilon {found.cost.pld_epsilon:.6f}")
    return [*lines, "ledger holds" if check.is_sound else "ledger does NOT hold"]
