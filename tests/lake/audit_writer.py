"""A writing process for the audit-log tests; run as ``python audit_writer.py LAKE WRITER N_ENTRIES``."""

from __future__ import annotations

import sys

from ppsehr_spark.lake.audit_log import append_entry
from ppsehr_spark.lake.tables import Lake

if __name__ == "__main__":
    lake, writer, n_entries = Lake(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    for number in range(n_entries):
        append_entry(lake, actor=writer, action="test", target="none", run_id="r", details={"number": number})
        print(number, flush=True)
