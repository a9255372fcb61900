"""The version of a table that says which rows it holds, whatever maintenance has done to its files since.

Knows: which commits change no row. Must not know: who asks. A question to the privacy ledger is named after the data it
reads (decision 0008): a compaction that lifts a table's version must not make it a new question, which would be paid
again. Maintenance notes the version of the rows in its own commits, so that it is known after the log was cleaned.
Reference: Delta protocol, "Commit Provenance Information" (``operation``, ``userMetadata``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ppsehr_spark.lake.schemas import TABLES
from ppsehr_spark.lake.table_log import read_commits
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake

#: Commits that change no row.
ROWLESS = frozenset(
    {
        "OPTIMIZE", "REORG", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES",
        "UPGRADE PROTOCOL", "DROP FEATURE", "COMPUTE STATS", "CHANGE COLUMN",
    }
)  # fmt: skip
_NOTED = re.compile(r"rows of version (\d+)")


def note_rows(version: int) -> str:
    """What maintenance writes into the metadata of its commits."""
    return f"rows of version {version}"


def find_row_version(lake: Lake, spec: TableSpec, *, version: int) -> int:
    """The newest version up to ``version`` whose commit changed rows.

    Where that commit is no longer in the log, the newest note of it; without a note, the oldest version that is there.
    A note counts for less than a commit: a stage may have written between the note and the commit that carries it.
    """
    oldest, noted = version, None
    for number, commit in read_commits(lake, spec, until=version):
        if commit.get("operation") not in ROWLESS:
            return number
        note = _NOTED.fullmatch(str(commit.get("userMetadata") or ""))
        noted = int(note[1]) if note and noted is None else noted
        oldest = number
    return oldest if noted is None else noted


def row_versions(lake: Lake, versions: Mapping[str, int | None]) -> dict[str, int | None]:
    """Table -> version of the rows that a pinned version holds; ``None`` stays."""
    return {
        name: None if version is None else find_row_version(lake, TABLES[name], version=version)
        for name, version in versions.items()
    }
