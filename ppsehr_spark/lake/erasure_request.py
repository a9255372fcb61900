"""Who is to be erased: a file of source patient ids or patient keys, one per line, becomes patient keys.

Knows: how ingest mints a patient key. Must not know: what is removed. Ids come from a file alone: a command line stands
in process lists, shells' histories and logs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyarrow import compute

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.identity import keyed_hash, load_key
from ppsehr_spark.errors import UsageError
from ppsehr_spark.lake.schemas import ENCOUNTERS, NOTES, PATIENT_MERGES, PATIENTS
from ppsehr_spark.lake.tables import Lake

_PATIENT_KEY = re.compile(r"[0-9a-f]{32}")
#: Reasons and accounts are copied into tables, logs and certificates: codes, not sentences.
_CODE = re.compile(r"[\w.@+-]{1,60}")


@dataclass(frozen=True)
class ErasureRequest:
    """Patient keys that the lines can mean (one per source, with whoever was merged with them), and the lines.

    Attributes:
        ids: the lines as they were given; never printed.
        n_persons: how many lines.
    """

    patient_keys: frozenset[str]
    ids: frozenset[str]
    reason: str
    requested_by: str

    @property
    def n_persons(self) -> int:
        """How many different lines."""
        return len(self.ids)


def read_request(lake: Lake, settings: Settings, *, path: str, reason: str, requested_by: str) -> ErasureRequest:
    """Read the file and find the keys.

    Raises:
        UsageError: ``PATIENTS_FILE`` when it cannot be read or is empty, ``ERASURE_CODE`` for a reason or account that
            is no code.
    """
    for name, value in (("reason", reason), ("requested_by", requested_by)):
        if not _CODE.fullmatch(value):
            hint = "at most 60 letters, digits, dots, dashes; it is copied into the certificate"
            raise UsageError("ERASURE_CODE", field=name, hint=hint)
    ids = _read_lines(path)
    key, sources = load_key(settings.identity.key_file), _list_sources(lake, settings)
    keys = {keyed_hash(key, "patient", source, line) for line in ids for source in sources}
    keys |= {i for i in ids if _PATIENT_KEY.fullmatch(i)}
    return ErasureRequest(frozenset(_with_merged(lake, keys)), ids, reason, requested_by)


def _with_merged(lake: Lake, keys: set[str]) -> set[str]:
    """The keys, their survivors, and all that were merged into those: one person, who must not return under any id."""
    columns = ["patient_key", "surviving_key"]
    merges = [
        row for batch in lake.stream(PATIENT_MERGES, columns) for row in zip(*batch.to_pydict().values(), strict=True)
    ]
    survivors = keys | {survivor for merged, survivor in merges if merged in keys}
    return survivors | {merged for merged, survivor in merges if survivor in survivors}


def _read_lines(path: str) -> frozenset[str]:
    try:
        with open(path, encoding="utf-8-sig") as stream:
            lines = frozenset(line.strip() for line in stream if line.strip())
    except (OSError, UnicodeDecodeError):
        lines = frozenset()
    if not lines:
        hint = "--patients must name a readable UTF-8 file with one source patient id or patient key per line"
        raise UsageError("PATIENTS_FILE", hint=hint)
    return lines


def _list_sources(lake: Lake, settings: Settings) -> set[str]:
    sources = {settings.ingest.source}
    for spec in (PATIENTS, ENCOUNTERS, NOTES):
        for batch in lake.stream(spec, ["source"]):
            sources.update(name for name in compute.unique(batch["source"]).to_pylist() if name)
    return sources
