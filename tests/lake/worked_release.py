"""Rows of the second half of a small finished lake: statistics, synthetic patients, figures, what of it was published.

The ledger rows are real (reserved, drawn and committed); all other
rows are written by hand, so that each can be checked.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from ppsehr_spark.config import Settings
from ppsehr_spark.lake.ledger_store import open_ledger
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.events import SampledGaussian, ZeroConcentrated
from ppsehr_spark.privacy.grants import Query, redeem_grant
from ppsehr_spark.privacy.ledger import answer_once
from ppsehr_spark.privacy.noise import draw_counts
from ppsehr_spark.privacy.policy import Scope, parse_policy
from ppsehr_spark.privacy.units import ContributionBounds

_CARDIOLOGY, _NEUROLOGY, _OTHER = "心血管内科", "神经内科", "其他科室"
_RUN = {"run_id": "r1"}
_RELEASED_AT = datetime(2024, 7, 1, tzinfo=UTC)
#: Releases made by hand: product, id, month in which it became current.
_CATALOGUE = (
    ("release.dp_statistics", "stats-old", 6, 3),
    ("release.dp_statistics", "stats-new", 7, 8),
    ("release.synthetic_patients", "synthetic-new", 7, 2),
)


def spend_budget(lake: Lake, settings: Settings) -> dict[str, str]:
    """Five questions put to the real ledger, and a sixth that a crash left open; name -> grant id."""
    ledger = open_ledger(lake, parse_policy(settings.files))
    bounds = ContributionBounds(2, 1)
    grants = {}
    for ask, name, rho in (
        ("stats-a", "patients_by_department", 0.01),
        ("stats-b", "patients_by_department", 0.01),
        ("stats-b", "length_of_stay_quantiles", 0.005),
        ("stats-b", "patients_by_span", 0.005),
    ):
        scope = Scope("lake", "statistics", "job:stats")
        query = Query(ask, name, scope, ZeroConcentrated(rho), bounds)
        grants[f"{ask}/{name}"] = answer_once(
            ledger, query, draw=lambda grant: draw_counts([3, 4], grant=grant)
        ).grant_id
    train = Query(
        "train-a", "checkpoint", Scope("lake", "training", "job:train"), SampledGaussian(2.0, 0.1, 40), bounds
    )
    grants["train-a/checkpoint"] = answer_once(ledger, train, draw=lambda grant: redeem_grant(grant).name).grant_id
    lost = Query("fit-a", "first_visit", Scope("lake", "record_model", "job:fit"), ZeroConcentrated(0.02), bounds)
    ledger.reserve(lost)
    return grants


def _cell(ask: str, query: str, cell: int, key: tuple[str, str], value: float, **more: Any) -> dict[str, Any]:
    common = {"kind": "count", "title": "各科室就诊患者数", "unit": "人", "mechanism": "discrete Gaussian"}
    row = {"ask_id": ask, "query": query, "cell": cell, "value": value, "low": value - 6, "high": value + 6}
    keys = [{"name": key[0], "value": key[1]}]
    return {**common, **row, "group_keys": keys, "rho": 0.01, "is_suppressed": False, **more}


def _quantile(cell: int, label: str, value: float) -> dict[str, Any]:
    more = {"kind": "quantile", "title": "住院天数分位数", "unit": "天", "low": None, "high": None}
    more["mechanism"] = "exponential mechanism"
    return _cell("stats-b", "length_of_stay_quantiles", cell, ("quantile", label), value, **more)


#: A histogram of stays: visits per bin of days, each with noise of six visits at 95%.
BINS = {"0": -4, "1": 12, "2-3": 70, "4-7": 100, "8-14": 60, "15-30": -2, "31+": 22}


def _bin(cell: int, label: str, value: float) -> dict[str, Any]:
    more = {"kind": "histogram", "title": "住院天数分布", "unit": "次", "is_suppressed": value < 6}
    return _cell("stats-b", "stays_by_days", cell, ("length_of_stay_days", label), value, **more)


def _statistics(grants: dict[str, str]) -> list[dict[str, Any]]:
    old = [_cell("stats-a", "patients_by_department", 0, ("department", _CARDIOLOGY), 39)]
    new = [
        _cell("stats-b", "patients_by_department", 0, ("department", _CARDIOLOGY), 41),
        _cell("stats-b", "patients_by_department", 1, ("department", _NEUROLOGY), 18),
        _cell("stats-b", "patients_by_department", 2, ("department", _OTHER), 2, is_suppressed=True),
        _quantile(0, "P25", 4), _quantile(1, "P50", 7), _quantile(2, "P75", 12),
        _cell("stats-b", "patients_by_span", 0, ("category", "STD"), 9, kind="spans", title="含某类敏感信息的患者数"),
        *(_bin(at, label, value) for at, (label, value) in enumerate(BINS.items())),
    ]  # fmt: skip
    paid = {
        "stays_by_days": grants["stats-b/patients_by_span"],
        "length_of_stay_quantiles": grants["stats-b/length_of_stay_quantiles"],
        "patients_by_span": grants["stats-b/patients_by_span"],
    }
    own = {ask: grants[f"{ask}/patients_by_department"] for ask in ("stats-a", "stats-b")}
    return [{**row, "grant_id": paid.get(row["query"], own[row["ask_id"]])} for row in old + new]


def _visit(
    at: int, patient: str, department: str, diagnosis: str, name: str, days: tuple[date, date]
) -> dict[str, Any]:
    ids = {"dataset_id": "d1", "synthetic_encounter_id": f"se{at}", "synthetic_patient_id": patient}
    code = {"department": department, "diagnosis_code": diagnosis, "diagnosis_name": name, "encounter_type": "住院"}
    times = {"admitted_on": days[0], "discharged_on": days[1], "position": 1 + (at == 2), "age_years": 62}
    return {**ids, **code, **times, "is_deceased": False}


_PATIENTS = [
    {"dataset_id": "d1", "synthetic_patient_id": "sp1", "sex": "F", "birth_year": 1960, "n_encounters": 2},
    {"dataset_id": "d1", "synthetic_patient_id": "sp2", "sex": "M", "birth_year": 1958, "n_encounters": 1},
]
_ENCOUNTERS = [
    _visit(1, "sp1", _CARDIOLOGY, "I21.900", "急性心肌梗死", (date(2022, 3, 1), date(2022, 3, 10))),
    _visit(2, "sp1", _CARDIOLOGY, "I50.900", "心力衰竭", (date(2022, 9, 1), date(2022, 9, 8))),
    _visit(3, "sp2", _NEUROLOGY, "I63.900", "脑梗死", (date(2021, 5, 2), date(2021, 5, 16))),
]
_TEXTS = {
    1: "入院记录\n患者女，62岁，因胸痛3小时入住心血管内科。\n初步诊断：急性心肌梗死。\n予抗血小板治疗。",
    2: None,
    3: "出院记录\n患者男，因右侧肢体无力入住神经内科，诊断脑梗死，好转出院。",
}


def _note(at: int) -> dict[str, Any]:
    encounter = _ENCOUNTERS[at - 1]
    ids = {name: encounter[name] for name in ("dataset_id", "synthetic_encounter_id", "synthetic_patient_id")}
    form = "出院记录" if at == 3 else "入院记录"
    return {
        **ids,
        "synthetic_note_id": f"sn{at}",
        "note_type": form,
        "text": _TEXTS[at],
        "generator": "public",
        "model": "m",
    }


def _check(at: int) -> dict[str, Any]:
    is_ok = _TEXTS[at] is not None
    counts = {"n_phi_spans": int(not is_ok), "n_checks": 4, "n_agreed": 4, "prompt_tokens": 90, "output_tokens": 60}
    return {**_note(at), **counts, "outcome": "ok" if is_ok else "PHI"}


def _figure(metric: str, part: str, value: float, basis: str, limit: float | None) -> dict[str, Any]:
    gate = {"gate_limit": limit, "is_passed": None if limit is None else True}
    row = {"evaluation_id": "v1", "subject": "d1", "metric": metric, "slice": part, "value": value, "basis": basis}
    return {**row, **gate, "n": 3 if basis == "public" else None}


_FIGURES = [
    _figure("marginal_distance", "department", 0.12, "public", 0.6),
    _figure("marginal_distance", "sex", 0.05, "public", 0.6),
    _figure("record_agreement", "", 1.0, "public", 0.8),
]
_ATTACK = _figure("membership_auc", "", 0.55, "internal", 0.75)
_CARD = {
    "card_json": '{"unit": "patient"}',
    "text_zh": "隐私声明卡",
    "text_en": "Claim card",
    "released_at": _RELEASED_AT,
}


def build_rows(grants: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Table -> rows; ``release.releases`` holds only the releases made by hand."""
    statistics = _statistics(grants)
    return {
        "protected.dp_statistics": [{**row, "table_versions": "{}", **_RUN} for row in statistics],
        "protected.synthetic_patients": _drawn("d1", 7) + _drawn("d0", 6),
        "protected.synthetic_encounters": [{**row, **_RUN} for row in _ENCOUNTERS],
        "protected.synthetic_notes": [{**_check(at), **_RUN} for at in (1, 2, 3)],
        "protected.evaluations": [{**row, **_RUN} for row in (*_FIGURES, _ATTACK)],
        "release.dp_statistics": _release("stats-old", statistics[:1]) + _release("stats-new", statistics[1:]),
        "release.synthetic_patients": _release("synthetic-new", _PATIENTS) + _release("unfinished", _PATIENTS[:1]),
        "release.synthetic_encounters": _release("synthetic-new", _ENCOUNTERS),
        "release.synthetic_notes": _release("synthetic-new", [_note(at) for at in (1, 3)]),
        "release.evaluations": _release("synthetic-new", _FIGURES),
        "release.claim_cards": _release("stats-old", [_CARD]) + _release("stats-new", [_CARD]),
        "release.releases": [
            {
                "release_id": release, "table": table, "n_rows": n_rows, "n_withheld": 0, "policy": "dp", "gates": "{}",
                "conf_hash": "c", "released_at": datetime(2024, month, 1, tzinfo=UTC),
            }
            for table, release, month, n_rows in _CATALOGUE
        ],
    }  # fmt: skip


def _drawn(dataset: str, month: int) -> list[dict[str, Any]]:
    about = {"dataset_id": dataset, "model_id": "m1", "synthesized_at": datetime(2024, month, 1, tzinfo=UTC)}
    return [{**row, **about, **_RUN} for row in _PATIENTS]


def _release(release: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"release_id": release, **row} for row in rows]
