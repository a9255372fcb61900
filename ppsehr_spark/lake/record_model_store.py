"""The record model on Delta: released marginals in ``protected.record_model``, one row each, written once per question.

Knows: rows. Must not know: how marginals are counted, noised or turned into patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from ppsehr_spark.errors import InputError
from ppsehr_spark.lake.schemas import RECORD_MODEL
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.synthesis.records import RecordDomain, ReleasedMarginal, count_cells, decode_domain, encode_domain


@dataclass(frozen=True)
class StoredModel:
    """One fit: ``model_id`` is the ask id under which the ledger released its marginals."""

    model_id: str
    domain: RecordDomain
    marginals: tuple[ReleasedMarginal, ...]


def write_marginals(
    lake: Lake, marginals: Sequence[ReleasedMarginal], *, model_id: str, domain: RecordDomain, run_id: str
) -> bool:
    """Write all marginals of a model in one commit.

    Returns:
        False when this model had been written before; the rows are then left as they are.
    """
    more = {"model_id": model_id, "domain": encode_domain(domain), "run_id": run_id, "fitted_at": datetime.now(UTC)}
    rows = [{**_to_row(marginal, domain), **more} for marginal in marginals]
    table = pa.Table.from_pylist(rows, schema=RECORD_MODEL.schema)
    return lake.append(RECORD_MODEL, table, app_id=model_id, app_version=1)


def read_record_model(lake: Lake, *, model_id: str = "") -> StoredModel:
    """The newest model, or the one that is named.

    Raises:
        InputError: ``NO_RECORD_MODEL`` when there is none.
    """
    rows = lake.read(RECORD_MODEL).to_pylist()
    wanted = model_id or max(rows, key=lambda row: row["fitted_at"], default={}).get("model_id", "")
    chosen = [row for row in rows if row["model_id"] == wanted]
    if not chosen:
        raise InputError("NO_RECORD_MODEL", table=RECORD_MODEL.full_name, hint="run the fit stage first")
    return StoredModel(wanted, decode_domain(chosen[0]["domain"]), tuple(_to_marginal(row) for row in chosen))


def _to_row(marginal: ReleasedMarginal, domain: RecordDomain) -> dict[str, Any]:
    return {
        "record": marginal.record,
        "marginal": marginal.name,
        "attributes": list(marginal.attributes),
        "n_cells": count_cells(marginal, domain),
        "counts": [int(count) for count in marginal.counts],
        "noise_scale": marginal.noise_scale,
        "rho": marginal.rho,
        "grant_id": marginal.grant_id,
    }


def _to_marginal(row: dict[str, Any]) -> ReleasedMarginal:
    return ReleasedMarginal(
        name=row["marginal"],
        record=row["record"],
        attributes=tuple(row["attributes"]),
        counts=np.array(row["counts"], dtype=np.int64),
        noise_scale=row["noise_scale"],
        rho=row["rho"],
        grant_id=row["grant_id"],
    )
