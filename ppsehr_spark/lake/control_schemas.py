"""Tables of the control zone: runs, the audit chain, the privacy ledger, leases, erasures, what the lake is.

Knows: their columns; several jobs append to each, through ``lake``. Must not know: how a row is computed.
"""

from __future__ import annotations

import pyarrow as pa

from ppsehr_spark.lake.table_spec import KEY_COLUMNS as _KEY
from ppsehr_spark.lake.table_spec import UTC as _UTC
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.table_spec import make_column as _column

RUNS = TableSpec(
    "control", "runs", "one row per stage run that ended, well or not | 运行记录",
    pa.schema([
        _KEY["run_id"],
        _column("stage", pa.string(), "job name", nullable=False),
        _column("fingerprint", pa.string(), "hash of input versions, conf and code"),
        _column("status", pa.string(), "ok, partial, failed or interrupted"),
        _column("exit_code", pa.int32(), "process exit code"),
        _column("error_code", pa.string(), "code of the error that ended it; none when it ended well"),
        _column("counts", pa.string(), "row and token counts as JSON"),
        _column("input_versions", pa.string(), "table versions it read, as JSON"),
        _column("output_versions", pa.string(), "table versions it left, as JSON"),
        _column("work_rows", pa.int64(), "rows of work that lay before it: notes, open segments, patients"),
        _column("prompt_tokens", pa.int64(), "tokens sent to a model"),
        _column("cached_tokens", pa.int64(), "those of them served from the prefix cache"),
        _column("output_tokens", pa.int64(), "tokens generated"),
        _column("cost", pa.float64(), "at the prices of [cost]; none where no price is set"),
        _column("library_versions", pa.string(), "Python and installed engines, as JSON"),
        _column("resource_versions", pa.string(), "knowledge, prompts, model and tagger it used, as JSON"),
        _column("conf_fingerprint", pa.string(), "hash of code and of the conf the stage depends on, without inputs"),
        _column("conf_hash", pa.string(), "settings"),
        _column("code_version", pa.string(), "package version"),
        _column("started_at", _UTC, "start"),
        _column("seconds", pa.float64(), "wall time in s; null for a run that died unseen"),
    ]),
    ("run_id", "stage"), "any", "deltalake",
)  # fmt: skip
AUDIT_LOG = TableSpec(
    "control", "audit_log", "who did what to which table, hash-chained | 审计日志",
    pa.schema([
        _column("sequence", pa.int64(), "position in the chain", nullable=False),
        _column("at", _UTC, "when"),
        _column("actor", pa.string(), "account or job"),
        _column("action", pa.string(), "what"),
        _column("target", pa.string(), "table or release"),
        _column("run_id", pa.string(), "run"),
        _column("details", pa.string(), "safe fields as JSON"),
        _column("previous_hash", pa.string(), "hash of the row before"),
        _column("row_hash", pa.string(), "SHA-256 over this row and previous_hash"),
    ]),
    ("sequence",), "any", "deltalake",
)  # fmt: skip
PRIVACY_LEDGER = TableSpec(
    "control", "privacy_ledger", "every reservation and release of privacy budget, hash-chained | 隐私预算账本",
    pa.schema([
        _column("sequence", pa.int64(), "position in the chain", nullable=False),
        _column("at", _UTC, "when"),
        _column("kind", pa.string(), "reserve, commit or release (of an unused reservation)"),
        _column("grant_id", pa.string(), "random id of the reservation"),
        _column("run_id", pa.string(), "run"),
        _column("query", pa.string(), "name of the release within its run"),
        _column("dataset", pa.string(), "scope: data set"),
        _column("purpose", pa.string(), "scope: purpose"),
        _column("user", pa.string(), "scope: user or job"),
        _column("event", pa.string(), "what happens to real records, as JSON"),
        _column("max_cells", pa.int64(), "cells that one patient can touch"),
        _column("max_per_cell", pa.int64(), "change of one cell by one patient"),
        _column("caps", pa.string(), "caps in force, as JSON"),
        _column("epsilon", pa.float64(), "stated epsilon of all that is spent after this row"),
        _column("delta", pa.float64(), "delta at which epsilon is stated"),
        _column("released", pa.string(), "released (noised) value as JSON, on commit only"),
        _column("previous_hash", pa.string(), "hash of the row before"),
        _column("row_hash", pa.string(), "SHA-256 over this row and previous_hash"),
    ]),
    ("sequence",), "any", "deltalake",
)  # fmt: skip
LAKE_INFO = TableSpec(
    "control", "lake_info", "schema version and identity-key fingerprint of the lake | 数据湖信息",
    pa.schema([
        _column("name", pa.string(), "property", nullable=False),
        _column("value", pa.string(), "value"),
    ]),
    ("name",), "any", "deltalake",
)  # fmt: skip
ERASURES = TableSpec(
    "control", "erasures", "who must not come back, as keyed hashes, and the certificate of each erasure | 删除登记",
    pa.schema([
        _column("erasure_id", pa.string(), "keyed hash of the persons, and the occasion", nullable=False),
        _column("kind", pa.string(), "tombstone (one per person) or certificate (one per erasure)", nullable=False),
        _column("person_hash", pa.string(), "keyed hash of the patient key; empty on a certificate", nullable=False),
        _column("reason", pa.string(), "code of the reason"),
        _column("requested_by", pa.string(), "role account that asked for it"),
        _column("at", _UTC, "when"),
        _column("rows_removed", pa.string(), "rows removed per table, as JSON"),
        _column("versions", pa.string(), "table versions before and after, as JSON"),
        _column("learnt", pa.string(), "models, statistics and releases that learnt from them, as JSON"),
        _column("certificate", pa.string(), "path of the certificate below the lake root"),
        _column("certificate_hash", pa.string(), "SHA-256 of the certificate's JSON file"),
        _KEY["run_id"],
    ]),
    ("erasure_id", "kind", "person_hash"), "any", "deltalake", stats_columns=("erasure_id", "kind"),
)  # fmt: skip

UNIT_CLAIMS = TableSpec(
    "control", "unit_claims", "which driver works on which units, and until when | 工作单元租约",
    pa.schema([
        _column("sequence", pa.int64(), "number of the commit; the highest one of an owner counts", nullable=False),
        _column("owner", pa.string(), "one driver process: hash of its host, process number and start time"),
        _KEY["run_id"],
        _column("unit_ids", pa.list_(pa.string()), "all units that it holds now; none when it has left"),
        _column("claimed_at", _UTC, "when, by the clock of the owner"),
        _column("expires_at", _UTC, "when others may take over; never earlier than in a row before"),
    ]),
    ("sequence",), "any", "deltalake", stats_columns=("sequence", "owner", "expires_at"),
)  # fmt: skip

SPECS = (ERASURES, RUNS, AUDIT_LOG, PRIVACY_LEDGER, LAKE_INFO, UNIT_CLAIMS)
