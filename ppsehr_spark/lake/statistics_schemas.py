"""Tables of the differential-privacy way: statistics, record model, evaluations, claim cards, and drift sketches.

Knows: their columns. Must not know: how a value is computed. ``schemas`` collects them with all others.
"""

from __future__ import annotations

import pyarrow as pa

from ppsehr_spark.lake.table_spec import KEY_COLUMNS as _KEY
from ppsehr_spark.lake.table_spec import UTC as _UTC
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.table_spec import make_column as _column

#: One public key of a released cell, such as department = 心血管内科.
GROUP_KEY = pa.struct([pa.field("name", pa.string()), pa.field("value", pa.string())])

_STATISTIC_COLUMNS = [
    _column("ask_id", pa.string(), "hash of question and table versions; the run of the ledger", nullable=False),
    _column("query", pa.string(), "name of the release in conf/releases.toml", nullable=False),
    _column("cell", pa.int32(), "position of the cell within its release, from 0", nullable=False),
    _column("kind", pa.string(), "kind of the release, as conf/releases.toml states it"),
    _column("title", pa.string(), "title in Chinese"),
    _column("group_keys", pa.list_(GROUP_KEY), "public keys of the cell"),
    _column("value", pa.float64(), "released value, noised; may be negative"),
    _column("low", pa.float64(), "lower end of the 95% interval that the noise alone gives"),
    _column("high", pa.float64(), "upper end of the 95% interval that the noise alone gives"),
    _column("unit", pa.string(), "unit of the value"),
    _column(
        "mechanism",
        pa.string(),
        "what drew the noise: discrete Gaussian, exponential mechanism, top-k, key threshold",
    ),
    _column("rho", pa.float64(), "zCDP cost of the whole release"),
    _column("grant_id", pa.string(), "reservation in the ledger that paid"),
    _column("is_suppressed", pa.bool_(), "the noise drowns the cell; show nothing but that"),
]
DP_STATISTICS = TableSpec(
    "protected", "dp_statistics", "patient-level DP statistics, one row per cell | 差分隐私统计",
    pa.schema([
        *_STATISTIC_COLUMNS,
        _column("table_versions", pa.string(), "versions of the tables read, as JSON"),
        _KEY["run_id"],
    ]),
    ("ask_id", "query", "cell"), "stats", "deltalake", stats_columns=("ask_id", "query", "cell"),
)  # fmt: skip
DRIFT_SKETCHES = TableSpec(
    "phi", "drift_sketches", "t-digests for internal drift checks; not DP, never released | 内部漂移草图",
    pa.schema([
        _column("sketch_key", pa.string(), "hash of measure and table version", nullable=False),
        _column("measure", pa.string(), "what is measured"),
        _column("n_rows", pa.int64(), "values in the sketch"),
        _column("centroids", pa.string(), "t-digest as JSON"),
        _column("table_version", pa.int64(), "version of the table read"),
        _KEY["run_id"],
    ]),
    ("sketch_key",), "stats", "deltalake",
)  # fmt: skip
RECORD_MODEL = TableSpec(
    "protected", "record_model", "noised marginals that the record model is estimated from | 记录模型边际",
    pa.schema([
        _column("model_id", pa.string(), "hash of question and table versions", nullable=False),
        _column("record", pa.string(), "first_visit or next_visit", nullable=False),
        _column("marginal", pa.string(), "name of the marginal in conf/record_model.toml", nullable=False),
        _column("attributes", pa.list_(pa.string()), "its attributes, in the order of its axes"),
        _column("n_cells", pa.int32(), "cells, product of the axes"),
        _column("counts", pa.list_(pa.int64()), "noised patients per cell, last axis fastest; may be negative"),
        _column("noise_scale", pa.float64(), "standard deviation of the noise per cell"),
        _column("rho", pa.float64(), "zCDP cost of this marginal"),
        _column("grant_id", pa.string(), "reservation in the ledger that paid"),
        _column("domain", pa.string(), "public attributes and values of the model, as JSON"),
        _column("fitted_at", _UTC, "when"),
        _KEY["run_id"],
    ]),
    ("model_id", "marginal"), "fit", "deltalake",
)  # fmt: skip
_EVALUATION_COLUMNS = [
    _column("evaluation_id", pa.string(), "hash of what was evaluated", nullable=False),
    _column("subject", pa.string(), "data set, checkpoint or statistics that it is about"),
    _column("metric", pa.string(), "what is measured", nullable=False),
    _column("slice", pa.string(), "part it is measured on, empty for all", nullable=False),
    _column("value", pa.float64(), "figure"),
    _column("low", pa.float64(), "lower end of its 95% interval, null when it has none"),
    _column("high", pa.float64(), "upper end of its 95% interval, null when it has none"),
    _column("n", pa.int64(), "how many cases it rests on; null where that would tell of real records"),
    _column("basis", pa.string(), "public (free, post-processing) or internal (read real records)"),
    _column("gate_limit", pa.float64(), "limit of the gate, null when nothing hangs on it"),
    _column("is_passed", pa.bool_(), "the gate is passed, null when nothing hangs on it"),
]
EVALUATIONS = TableSpec(
    "protected", "evaluations", "figures about every release candidate, with their basis | 评估结果",
    pa.schema([*_EVALUATION_COLUMNS, _KEY["run_id"]]),
    ("evaluation_id", "metric", "slice"), "evaluate", "deltalake",
)  # fmt: skip

_RELEASE_ID = _column("release_id", pa.string(), "hash of content and policy", nullable=False)
RELEASED_STATISTICS = TableSpec(
    "release", "dp_statistics", "published DP statistics | 发布统计",
    pa.schema([_RELEASE_ID, *_STATISTIC_COLUMNS]),
    ("release_id", "query", "cell"), "publish", "deltalake", stats_columns=("release_id", "query", "cell"),
)  # fmt: skip
RELEASED_EVALUATIONS = TableSpec(
    "release", "evaluations", "published figures; public basis only | 发布评估",
    pa.schema([_RELEASE_ID, *_EVALUATION_COLUMNS]),
    ("release_id", "metric", "slice"), "publish", "deltalake",
)  # fmt: skip
RELEASED_CLAIM_CARDS = TableSpec(
    "release", "claim_cards", "what is claimed about a release and what is not | 隐私声明卡",
    pa.schema([
        _RELEASE_ID,
        _column("card_json", pa.string(), "every field of the card as JSON"),
        _column("text_zh", pa.string(), "the card in Chinese"),
        _column("text_en", pa.string(), "the card in English"),
        _column("released_at", _UTC, "when"),
    ]),
    ("release_id", "released_at"), "publish", "deltalake",
)  # fmt: skip

SPECS = (
    DP_STATISTICS, DRIFT_SKETCHES, RECORD_MODEL, EVALUATIONS, RELEASED_STATISTICS, RELEASED_EVALUATIONS,
    RELEASED_CLAIM_CARDS,
)  # fmt: skip
