"""Publishing statistics and synthetic data: what leaves, what each gate stops, once, and whole again after a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import PublishSettings, Settings
from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.audit_log import verify_chain
from ppsehr_spark.lake.claim_store import read_ledger
from ppsehr_spark.lake.evaluations import evaluate_lake
from ppsehr_spark.lake.ledger_store import open_ledger
from ppsehr_spark.lake.publishing import Published, publish_products
from ppsehr_spark.lake.release_files import read_anchors
from ppsehr_spark.lake.row_chain import GENESIS_HASH, hash_chained
from ppsehr_spark.lake.schemas import TABLES, TableSpec
from ppsehr_spark.lake.statement_store import Statement, store_statement
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.events import ZeroConcentrated
from ppsehr_spark.privacy.grants import Query
from ppsehr_spark.privacy.ledger import answer_once
from ppsehr_spark.privacy.noise import draw_counts
from ppsehr_spark.privacy.policy import Scope, parse_policy
from ppsehr_spark.privacy.units import ContributionBounds
from tests.lake.dp_lake import CHECKPOINT_ID, DATASET_ID, make_scores
from tests.lake.worked_rows import WORKED_ROWS

RELEASED = tuple(spec for spec in TABLES.values() if spec.zone == "release")
_DP = ("dp_statistics", "synthetic")
Rows = list[dict[str, Any]]


def _publish(lake: Lake, settings: Settings, **more: Any) -> Published:
    return publish_products(lake, settings, run_id="r2", **more)


def _refusals(published: Published) -> dict[str, str]:
    """Product -> code, without the notes that these lakes do not have."""
    return {product: refusal.code for product, refusal in published.refusals if product != "notes"}


def _edit(lake: Lake, fill: Any, spec: TableSpec, change: Callable[[Rows], Any]) -> None:
    rows = lake.read(spec).to_pylist()
    change(rows)
    fill(spec, rows)


def _versions(lake: Lake) -> dict[str, int | None]:
    return {spec.full_name: lake.version(spec) for spec in RELEASED}


def test_every_product_leaves_with_its_own_id_and_gates(dp_lake: Lake, settings: Settings) -> None:
    published = _publish(dp_lake, settings)
    statistics, synthetic = published.releases
    assert [release.product for release in published.releases] == list(_DP)
    assert statistics.release_id != synthetic.release_id and statistics.policy == synthetic.policy == "dp"
    rows = dp_lake.read(schemas.RELEASES).to_pylist()
    assert sorted((row["table"], row["n_rows"]) for row in rows) == [
        ("release.dp_statistics", 6),
        ("release.synthetic_encounters", 60),
        ("release.synthetic_notes", 9),
        ("release.synthetic_patients", 40),
    ]
    assert {row["release_id"] for row in rows if "synthetic" in row["table"]} == {synthetic.release_id}
    gates = json.loads(next(row["gates"] for row in rows if "synthetic" in row["table"]))
    assert gates["figures"]["statement_agreement"] == 1.0 and gates["identifiers"]["n_notes_with_one"] == 0


def test_what_left_is_what_the_ledger_released(dp_lake: Lake, settings: Settings) -> None:
    _publish(dp_lake, settings)
    committed = read_ledger(dp_lake).committed
    counts = [row for row in dp_lake.read(schemas.RELEASED_STATISTICS).to_pylist() if row["kind"] == "count"]
    assert [row["value"] for row in sorted(counts, key=lambda row: row["cell"])] == json.loads(
        committed[counts[0]["grant_id"]].released or ""
    )


def test_only_public_figures_leave(dp_lake: Lake, settings: Settings) -> None:
    _publish(dp_lake, settings)
    internal = [row for row in dp_lake.read(schemas.EVALUATIONS).to_pylist() if row["basis"] == "internal"]
    assert {row["metric"] for row in internal} >= {"membership_auc", "epsilon_lower_bound"}
    assert all(row["n"] is None for row in internal)
    released = dp_lake.read(schemas.RELEASED_EVALUATIONS).to_pylist()
    assert released and {row["basis"] for row in released} == {"public"}
    names = {str(row["value"]) for row in internal if row["value"] not in (0.0, 1.0)}
    texts = [path.read_text(encoding="utf-8") for path in Path(dp_lake.uri, "release").glob("claim_*.*")]
    assert len(texts) == 10 and names and not any(name in text for name in names for text in texts)


def test_publishing_twice_writes_nothing(dp_lake: Lake, settings: Settings) -> None:
    _publish(dp_lake, settings)
    before = _versions(dp_lake)
    files = {path.name: path.stat().st_mtime_ns for path in Path(dp_lake.uri, "release").glob("*.*")}
    again = _publish(dp_lake, settings)
    assert [release.is_new for release in again.releases] == [False, False]
    assert _versions(dp_lake) == before
    assert {path.name: path.stat().st_mtime_ns for path in Path(dp_lake.uri, "release").glob("*.*")} == files


def test_a_card_follows_when_more_was_spent_on_the_source(dp_lake: Lake, settings: Settings) -> None:
    _publish(dp_lake, settings)
    before = _versions(dp_lake)
    ledger = open_ledger(dp_lake, parse_policy(settings.files))
    query = Query("stats-b", "n", Scope("lake", "statistics", "x"), ZeroConcentrated(0.01), ContributionBounds(1, 1))
    answer_once(ledger, query, draw=lambda grant: draw_counts([7], grant=grant))
    assert [release.is_new for release in _publish(dp_lake, settings).releases] == [True, True]
    after = _versions(dp_lake)
    changed = {name for name, version in after.items() if version != before[name]}
    assert changed == {"release.claim_cards"}
    cards = dp_lake.read(schemas.RELEASED_CLAIM_CARDS).sort_by("released_at").to_pylist()
    first, last = (json.loads(card["card_json"]) for card in (cards[0], cards[-1]))
    assert len(cards) == 4 and last["source_epsilon"] > first["source_epsilon"]
    name = f"claim_{cards[-1]['release_id']}.json"
    assert Path(dp_lake.uri, "release", name).read_text(encoding="utf-8") == cards[-1]["card_json"]


def test_notes_statistics_and_synthetic_data_leave_together(dp_lake: Lake, fill: Any, settings: Settings) -> None:
    for name in ("phi.notes", "phi.annotations", "protected.notes"):
        fill(TABLES[name], WORKED_ROWS[name])
    published = _publish(dp_lake, settings)
    assert [release.product for release in published.releases] == ["notes", *_DP] and not published.refusals
    cards = [json.loads(card) for card in dp_lake.read(schemas.RELEASED_CLAIM_CARDS)["card_json"].to_pylist()]
    notes = next(card for card in cards if card["product"] == "notes")
    assert (notes["definition"], notes["epsilon"]) == ("no_guarantee", None) and notes["source_epsilon"] > 0


def _spoil_value(rows: Rows) -> None:
    rows[0]["value"] += 1


def _spoil_quantile(rows: Rows) -> None:
    next(row for row in rows if row["kind"] == "quantile")["value"] += 1


def _swap_quantiles(rows: Rows) -> None:
    low, _, high = (row for row in rows if row["kind"] == "quantile")
    low["group_keys"], high["group_keys"] = high["group_keys"], low["group_keys"]


def _show_exact_interval(rows: Rows) -> None:
    next(row for row in rows if row["kind"] == "count")["low"] += 1


def _name_cell(rows: Rows) -> None:
    cell = next(row for row in rows if row["kind"] == "count")
    cell["group_keys"] = [{"name": "department", "value": "周若彤"}]


def _drop_cell(rows: Rows) -> None:
    rows.remove(next(row for row in rows if row["kind"] == "count" and row["cell"] == 1))


def _take_another_grant(rows: Rows) -> None:
    rows[0]["grant_id"] = "0" * 32


def _borrow_grant(rows: Rows) -> None:
    rows.append({**rows[0], "query": "length_of_stay_digest", "kind": "t-digest", "value": 3.25, "cell": 0})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_spoil_value, "STATISTIC_DIFFERS"),
        (_spoil_quantile, "STATISTIC_DIFFERS"),
        (_swap_quantiles, "STATISTIC_DIFFERS"),
        (_show_exact_interval, "STATISTIC_DIFFERS"),
        (_drop_cell, "STATISTIC_DIFFERS"),
        (_name_cell, "STATISTIC_LABEL"),
        (lambda rows: rows[0].update(title="张三"), "STATISTIC_LABEL"),
        (_take_another_grant, "UNPAID_STATISTIC"),
        (_borrow_grant, "UNPAID_STATISTIC"),
    ],
)
def test_a_statistic_that_the_ledger_did_not_release_stays(
    dp_lake: Lake, fill: Any, settings: Settings, change: Callable[[Rows], Any], code: str
) -> None:
    _edit(dp_lake, fill, schemas.DP_STATISTICS, change)
    evaluate_lake(dp_lake, settings, run_id="r2")
    published = _publish(dp_lake, settings)
    assert _refusals(published) == {"dp_statistics": code}
    assert [release.product for release in published.releases] == ["synthetic"]
    assert dp_lake.version(schemas.RELEASED_STATISTICS) is None


def test_an_open_reservation_pays_for_nothing(dp_lake: Lake, fill: Any, settings: Settings) -> None:
    ledger = open_ledger(dp_lake, parse_policy(settings.files))
    scope, bounds = Scope("lake", "statistics", "x"), ContributionBounds(1, 1)
    grant = ledger.reserve(Query("stats-a", "open", scope, ZeroConcentrated(0.001), bounds))
    extra = {"query": "open", "grant_id": grant.grant_id, "cell": 0}
    _edit(dp_lake, fill, schemas.DP_STATISTICS, lambda rows: rows.append({**rows[0], **extra}))
    assert _refusals(_publish(dp_lake, settings))["dp_statistics"] == "UNPAID_STATISTIC"


def _forge_ledger(rows: Rows, *, is_rehashed: bool) -> None:
    """Claim less than was spent; rehashed, the chain itself is whole and only the figures tell."""
    rows.sort(key=lambda row: int(row["sequence"]))
    rows[-1]["epsilon"] /= 2
    previous = GENESIS_HASH
    for row in rows if is_rehashed else ():
        row["previous_hash"] = previous
        row["row_hash"] = previous = hash_chained(schemas.PRIVACY_LEDGER, row)


@pytest.mark.parametrize("is_rehashed", [False, True])
def test_a_ledger_that_does_not_hold_releases_no_dp_product_but_notes(
    dp_lake: Lake, fill: Any, settings: Settings, is_rehashed: bool
) -> None:
    for name in ("phi.notes", "phi.annotations", "protected.notes"):
        fill(TABLES[name], WORKED_ROWS[name])
    _edit(dp_lake, fill, schemas.PRIVACY_LEDGER, lambda rows: _forge_ledger(rows, is_rehashed=is_rehashed))
    published = _publish(dp_lake, settings)
    assert _refusals(published) == {"dp_statistics": "LEDGER_GATE", "synthetic": "LEDGER_GATE"}
    assert [release.product for release in published.releases] == ["notes"]
    card = json.loads(dp_lake.read(schemas.RELEASED_CLAIM_CARDS)["card_json"][0].as_py())
    assert card["source_epsilon"] is None and card["definition"] == "no_guarantee"


def _name_somebody(rows: Rows) -> None:
    rows[0]["text"] += "联系电话13812345678。"


def _lose_visit(rows: Rows) -> None:
    rows[0]["synthetic_encounter_id"] = "nobody"


def _claim_training(rows: Rows) -> None:
    rows[0] |= {"generator": "trained", "model": "another-checkpoint"}


@pytest.mark.parametrize(
    ("spec", "change", "code"),
    [
        (schemas.SYNTHETIC_NOTES, _name_somebody, "SYNTHETIC_PHI_GATE"),
        (schemas.SYNTHETIC_NOTES, _lose_visit, "SYNTHETIC_ORPHAN"),
        (schemas.SYNTHETIC_NOTES, _claim_training, "UNPAID_CHECKPOINT"),
        (schemas.RECORD_MODEL, lambda rows: rows[0]["counts"].__setitem__(0, 10**6), "UNPAID_MARGINAL"),
        (schemas.RECORD_MODEL, lambda rows: rows[0].update(grant_id="0" * 32), "UNPAID_MARGINAL"),
        (schemas.SYNTHETIC_NOTES, lambda rows: [row.update(n_agreed=1) for row in rows], "AGREEMENT_GATE"),
        (schemas.SYNTHETIC_ENCOUNTERS, lambda rows: [r.update(encounter_type="门诊") for r in rows], "MARGINAL_GATE"),
    ],
)
def test_a_data_set_below_its_bar_stays(
    dp_lake: Lake, fill: Any, settings: Settings, spec: TableSpec, change: Callable[[Rows], Any], code: str
) -> None:
    _edit(dp_lake, fill, spec, change)
    evaluate_lake(dp_lake, settings, run_id="r2")
    published = _publish(dp_lake, settings)
    assert _refusals(published) == {"synthetic": code}
    assert [release.product for release in published.releases] == ["dp_statistics"]
    assert dp_lake.version(schemas.RELEASED_SYNTHETIC_NOTES) is None


def test_a_planted_string_in_synthetic_text_stays_and_is_not_repeated(dp_lake: Lake, settings: Settings) -> None:
    published = _publish(dp_lake, settings, canaries=["高血压病"])
    assert _refusals(published) == {"synthetic": "CANARY_GATE"}
    entries = dp_lake.read(schemas.AUDIT_LOG).to_pylist()
    refusal = next(entry for entry in entries if "CANARY_GATE" in entry["details"])
    assert refusal["action"] == "refuse_release" and "高血压" not in refusal["details"]
    assert json.loads(refusal["details"])["product"] == "synthetic"


@pytest.mark.parametrize(("gap", "code"), [(0.25, "MEMBERSHIP_GATE"), (5.0, "AUDIT_GATE")])
def test_a_leaking_training_closes_the_gate_without_a_figure(
    dp_lake: Lake, fill: Any, settings: Settings, gap: float, code: str
) -> None:
    scores = [{**row, "patient_key": f"{row['patient_key']}-{copy}"} for row in make_scores(gap) for copy in range(3)]
    fill(schemas.MEMBERSHIP_SCORES, scores)
    settings = replace(settings, publish=PublishSettings(max_membership_auc=0.7))
    evaluate_lake(dp_lake, settings, run_id="r2")
    published = _publish(dp_lake, settings)
    assert _refusals(published) == {"synthetic": code}
    rows = {row["metric"]: row for row in dp_lake.read(schemas.EVALUATIONS).to_pylist() if row["run_id"] == "r2"}
    refusal = next(refusal for product, refusal in published.refusals if product == "synthetic")
    figures = {round(rows[name]["value"], 4) for name in ("membership_auc", "epsilon_lower_bound")}
    assert rows["membership_auc"]["is_passed"] is False and not figures & set(refusal.fields.values())


def test_figures_of_other_tables_or_limits_do_not_count(dp_lake: Lake, settings: Settings) -> None:
    stricter = replace(settings, publish=replace(settings.publish, min_agreement=0.9))
    assert _refusals(_publish(dp_lake, stricter)) == {"synthetic": "EVALUATION_GATE"}
    evaluate_lake(dp_lake, stricter, run_id="r2")
    assert _refusals(_publish(dp_lake, stricter)) == {}


def test_a_figure_that_claims_another_basis_stops_the_release(dp_lake: Lake, fill: Any, settings: Settings) -> None:
    def relabel(rows: Rows) -> None:
        next(row for row in rows if row["metric"] == "membership_auc")["basis"] = "public"

    _edit(dp_lake, fill, schemas.EVALUATIONS, relabel)
    assert set(_refusals(_publish(dp_lake, settings)).values()) == {"EVALUATION_BASIS"}
    assert dp_lake.version(schemas.RELEASED_EVALUATIONS) is None


@pytest.mark.parametrize("row", [{"metric": "membership_auc", "basis": "public"}, {"metric": "x", "basis": "internal"}])
def test_the_store_takes_no_internal_figure(lake: Lake, row: dict[str, str]) -> None:
    statement = Statement("{}", "", "", "{}", (row,))
    with pytest.raises(QualityGateError, match="INTERNAL_FIGURE"):
        store_statement(lake, "a", statement)
    assert lake.version(schemas.RELEASED_CLAIM_CARDS) is None


class KilledError(BaseException):
    """Stands for SIGKILL inside this process: no ``except Exception`` of the product may catch it."""


_POINTS = (
    "publish.after_dp_statistics", "publish.after_statement_dp_statistics", "publish.after_catalogue_dp_statistics",
    "publish.after_audit_dp_statistics", "publish.after_synthetic_patients", "publish.after_synthetic_encounters",
    "publish.after_synthetic_notes", "publish.after_statement_synthetic", "publish.after_catalogue_synthetic",
    "publish.after_audit_synthetic",
)  # fmt: skip


@pytest.mark.chaos
def test_killed_at_every_step_and_run_again_it_leaves_everything_once(
    dp_lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(code: int) -> None:
        raise KilledError(code)

    monkeypatch.setattr(os, "_exit", die)
    for point in _POINTS:
        monkeypatch.setenv("PPSEHR_CRASH_AT", point)
        with pytest.raises(KilledError):
            _publish(dp_lake, settings)
    monkeypatch.delenv("PPSEHR_CRASH_AT")
    published = _publish(dp_lake, settings)
    assert len(published.releases) == 2
    for spec in RELEASED:
        rows = dp_lake.read(spec).to_pylist()
        keys = [tuple(row[key] for key in spec.keys) for row in rows]
        assert len(set(keys)) == len(keys), spec.full_name
    counts = {spec.full_name: dp_lake.read(spec).num_rows for spec in RELEASED}
    assert (
        counts["release.releases"] == 4 and counts["release.claim_cards"] == 2 and counts["release.dp_statistics"] == 6
    )
    assert len(list(Path(dp_lake.uri, "release").glob("manifest_*.json"))) == 2
    assert verify_chain(dp_lake, anchors=read_anchors(dp_lake)).is_whole


def test_subjects_of_the_figures_are_what_was_made(dp_lake: Lake) -> None:
    rows = dp_lake.read(schemas.EVALUATIONS).to_pylist()
    assert {row["subject"] for row in rows} == {DATASET_ID, CHECKPOINT_ID, "stats-a"}
