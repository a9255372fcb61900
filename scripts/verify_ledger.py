"""Recompute the privacy ledger of a lake from its rows alone; exit 4 when a figure, a step or a hash does not hold.

Knows: the command line. Must not know: how it is recomputed (``lake.ledger_check``, which ``ppsehr budget verify`` asks
as well). Prints what was recomputed, and every fault with its row and reason code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ppsehr_spark.errors import ExitCode, PpsehrError
from ppsehr_spark.lake.ledger_check import check_ledger, describe_check
from ppsehr_spark.lake.tables import Lake


def main(argv: Sequence[str] | None = None) -> int:
    """Verify one lake; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake", metavar="LAKE", help="lake root (URI or path)")
    lake = Lake(parser.parse_args(argv).lake)
    try:
        check = check_ledger(lake)
    except PpsehrError as error:
        print(f"verify_ledger: {error}", file=sys.stderr)
        return int(error.exit_code)
    print("\n".join(describe_check(check)))
    return int(ExitCode.OK if check.is_sound else ExitCode.QUALITY_GATE)


if __name__ == "__main__":
    sys.exit(main())
