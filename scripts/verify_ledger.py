"""Recompute the privacy ledger of a lake from its rows alone; exit 4 when a figure, a step or a hash does not hold.

Knows: ``control.privacy_ledger``. Must not know: today's caps, any other table. Prints what was recomputed, and every
fault with its row and reason code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ppsehr_spark.errors import ExitCode, PpsehrError
from ppsehr_spark.lake.ledger_store import read_entries
from ppsehr_spark.lake.row_chain import verify_rows
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.verification import Verification, verify_entries


def main(argv: Sequence[str] | None = None) -> int:
    """Verify one lake; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake", metavar="LAKE", help="lake root (URI or path)")
    lake = Lake(parser.parse_args(argv).lake)
    try:
        return _verify(lake)
    except PpsehrError as error:
        print(f"verify_ledger: {error}", file=sys.stderr)
        return int(error.exit_code)


def _verify(lake: Lake) -> int:
    chain = verify_rows(lake, PRIVACY_LEDGER)
    if not chain.is_whole:
        print(f"FAULT row {chain.broken_at}: {chain.reason} (chain of hashes)")
    found = verify_entries(read_entries(lake))
    for fault in found.faults:
        print(f"FAULT row {fault.row}: {fault.reason}")
    for line in _describe(found):
        print(line)
    is_sound = chain.is_whole and not found.faults
    print("ledger holds" if is_sound else "ledger does NOT hold")
    return int(ExitCode.OK if is_sound else ExitCode.QUALITY_GATE)


def _describe(found: Verification) -> list[str]:
    lines = [f"rows {found.n_rows}, releases {found.n_committed}, open reservations {found.n_open} (spent)"]
    if found.cost:
        stated = found.cost.stated
        lines.append(f"epsilon {stated.epsilon:.6f} at delta {stated.delta:g}, recomputed by {found.cost.accountant}")
        lines.append(f"unit {stated.unit}, neighbouring {stated.neighbouring}")
        if found.cost.pld_epsilon is not None:
            lines.append(f"PLD, tighter: epsilon {found.cost.pld_epsilon:.6f}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
