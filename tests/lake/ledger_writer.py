"""A spending process for the ledger tests; run as ``python ledger_writer.py LAKE CAP_EPSILON RUN N_QUERIES [gated]``.

A gated one says that it is ready and waits for a line before it asks.
Each query asks for rho 0.01 and releases one noised count of 1,000,000; prints what became of each.
"""

from __future__ import annotations

import sys

from ppsehr_spark.errors import BudgetRefusedError
from ppsehr_spark.lake.ledger_store import open_ledger
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy import noise
from ppsehr_spark.privacy.grants import Grant
from tests.privacy.small_ledger import make_policy, make_query

if __name__ == "__main__":
    lake, cap, run_id, n_queries = Lake(sys.argv[1]), float(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    ledger = open_ledger(lake, make_policy(cap))
    if sys.argv[5:] == ["gated"]:
        print("ready", flush=True)
        sys.stdin.readline()
    for number in range(n_queries):
        try:
            outcome = ledger.reserve(make_query(f"q{number}", run_id=run_id))
        except BudgetRefusedError:
            print("refused", flush=True)
            continue
        if isinstance(outcome, Grant):
            if run_id.startswith("giver"):
                ledger.release(outcome)
                print("given back", flush=True)
                continue
            outcome = ledger.commit(outcome, noise.draw_counts([1_000_000], grant=outcome))
        print("released", outcome.value[0], flush=True)
