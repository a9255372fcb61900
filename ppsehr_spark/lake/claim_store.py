"""From a release to its statement: the claim card in JSON and in words, and the public figures that go with it.

Knows: where the facts of a card lie (ledger, conf, evaluations, versions). Must not know: gates, how rows are written.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ppsehr_spark import __version__
from ppsehr_spark.config import Settings, hash_values
from ppsehr_spark.evaluation.metrics import PUBLIC, SMALL_GROUP_METRICS
from ppsehr_spark.lake.ledger_store import read_entries
from ppsehr_spark.lake.release_store import Release
from ppsehr_spark.lake.row_chain import verify_rows
from ppsehr_spark.lake.schemas import DP_STATISTICS, PRIVACY_LEDGER, RECORD_MODEL
from ppsehr_spark.lake.statement_store import Statement, fix_card
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.book import Entry
from ppsehr_spark.privacy.claim import Circumstances, ClaimCard, EmpiricalAudit, Figure, Product, make_card
from ppsehr_spark.privacy.claim_text import LANGUAGES, parse_choices, parse_wording, render_card
from ppsehr_spark.privacy.verification import Verification, verify_entries

_INPUTS = ("codelists/", "releases.toml", "record_model.toml", "narratives/", "prompts/", "privacy.toml")
_NOISE_LIBRARIES = ("opendp", "numpy")
#: ``privacy.noise.draw_counts`` over a zCDP event.
_MARGINAL_MECHANISM = "discrete Gaussian"


@dataclass(frozen=True)
class LedgerState:
    """The ledger as read once, and whether every hash, step and figure of it holds.

    Attributes:
        broken_at: row of the first break of the chain of hashes, ``None`` when it is whole.
        mechanisms: grant id -> mechanism, where a table says more than the event does.
    """

    entries: tuple[Entry, ...]
    broken_at: int | None
    verification: Verification
    mechanisms: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """The chain is whole and everything recomputed agrees."""
        return self.broken_at is None and not self.verification.faults

    @property
    def committed(self) -> dict[str, Entry]:
        """Grant id -> its commit entry."""
        return {entry.grant_id: entry for entry in self.entries if entry.kind == "commit"}


@dataclass(frozen=True)
class Support:
    """What a product rests on.

    Attributes:
        grants: ledger grants that paid for it.
        figures: rows of ``protected.evaluations`` about it, of either basis.
        public_inputs: name -> version, beside the conf files.
    """

    grants: frozenset[str] = frozenset()
    figures: tuple[Mapping[str, Any], ...] = ()
    public_inputs: Mapping[str, str] = field(default_factory=dict)


def read_ledger(lake: Lake) -> LedgerState:
    """All rows, with the result of a full verification."""
    chain = verify_rows(lake, PRIVACY_LEDGER)
    entries = read_entries(lake)
    return LedgerState(tuple(entries), chain.broken_at, verify_entries(entries), _read_mechanisms(lake))


def state_release(release: Release, settings: Settings, ledger: LedgerState, support: Support) -> Statement:
    """Card and public figures of a release.

    Raises:
        ConfigurationError: ``CLAIM_CARD`` or ``CLAIM_WORDING`` when conf cannot word the card.
    """
    card = _make_card(release, settings, ledger, support)
    texts = {language: render_card(card, parse_wording(settings.files, language)) for language in LANGUAGES}
    card_json = card.to_json()
    figures = tuple(dict(row) for row in support.figures if row["basis"] == PUBLIC)
    return Statement(card_json, texts["zh"], texts["en"], fix_card(card_json), figures)


def _read_mechanisms(lake: Lake) -> dict[str, str]:
    statistics = lake.read(DP_STATISTICS, ["grant_id", "mechanism"]).to_pylist()
    marginals = lake.read(RECORD_MODEL, ["grant_id"]).to_pylist()
    named = {row["grant_id"]: row["mechanism"] for row in statistics}
    return {**named, **{row["grant_id"]: _MARGINAL_MECHANISM for row in marginals}}


def _make_card(release: Release, settings: Settings, ledger: LedgerState, support: Support) -> ClaimCard:
    tables = tuple(table.spec.full_name for table in release.tables)
    product = Product(release.product, release.release_id, tables, support.grants, ledger.mechanisms)
    public = [_to_figure(row) for row in support.figures if row["basis"] == PUBLIC]
    return make_card(
        product,
        ledger.entries if ledger.is_sound else None,
        choices=parse_choices(settings.files),
        circumstances=_describe_circumstances(settings, support),
        utility=[figure for figure in public if figure.metric not in SMALL_GROUP_METRICS],
        small_groups=[figure for figure in public if figure.metric in SMALL_GROUP_METRICS],
        audit=_describe_audit(support.figures),
    )


def _describe_circumstances(settings: Settings, support: Support) -> Circumstances:
    inputs = {}
    for prefix in _INPUTS:
        texts = {path: text for path, text in settings.files.items() if path.startswith(prefix)}
        inputs |= {f"conf/{prefix}": hash_values(texts)} if texts else {}
    return Circumstances(
        public_inputs={**inputs, **support.public_inputs},
        versions={name: _version(name) for name in _NOISE_LIBRARIES},
        code_version=__version__,
        config_hash=settings.conf_hash,
        reviewer=settings.privacy.reviewer,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _describe_audit(rows: Sequence[Mapping[str, Any]]) -> EmpiricalAudit:
    """Which attack was run and whether its gates held; their figures read real records and are left out."""
    gates = {row["metric"]: row for row in rows if row["metric"] in ("membership_auc", "epsilon_lower_bound")}
    if len(gates) < 2:
        return EmpiricalAudit()
    auc, bound = gates["membership_auc"], gates["epsilon_lower_bound"]
    is_passed = bool(auc["is_passed"] and bound["is_passed"])
    return EmpiricalAudit(auc["slice"], bound["gate_limit"], auc["gate_limit"], is_passed)


def _to_figure(row: Mapping[str, Any]) -> Figure:
    names = ("subject", "metric", "slice", "value", "low", "high", "gate_limit", "is_passed")
    return Figure(**{name: row[name] for name in names})


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
