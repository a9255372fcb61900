"""The claim card: every field that a claim must have, from the ledger and conf alone, in both languages."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.evaluation.metrics import METRICS, PUBLIC
from ppsehr_spark.lake.statistics_store import name_mechanism
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.book import Entry
from ppsehr_spark.privacy.claim import (
    Choices,
    Circumstances,
    ClaimCard,
    EmpiricalAudit,
    Figure,
    Product,
    make_card,
)
from ppsehr_spark.privacy.claim_text import LANGUAGES, parse_choices, parse_wording, render_card, to_markdown
from ppsehr_spark.privacy.events import Event, Gaussian, PureEpsilon, SampledGaussian, ZeroConcentrated, decode_event
from ppsehr_spark.privacy.grants import redeem_grant
from ppsehr_spark.privacy.ledger import answer_once
from ppsehr_spark.privacy.policy import Cap
from ppsehr_spark.privacy.units import Budget
from tests.privacy.small_ledger import DELTA, make_ledger, make_query

FILES = read_conf_files()
CHOICES = parse_choices(FILES)
CIRCUMSTANCES = Circumstances(
    public_inputs={"conf/codelists/": "abc123"},
    versions={"opendp": "0.0.7", "numpy": "0.0.8"},
    code_version="0.0.9",
    config_hash="feedbeef",
    reviewer="隐私官 甲",
    date="2026-01-02T03:04:05+00:00",
)
FIGURE = Figure("set", "statement_agreement", "", 0.91, 0.85, 0.96, 0.8, True)
SMALL = Figure("stats", "smallest_readable_group", "patients_by_department", 37.0)
AUDIT = EmpiricalAudit("loss", 2.13, 0.75, True)
#: dp.md's list -> fields of the card that answer it.
REQUIRED = {
    "unit": ("unit",),
    "neighbouring relation": ("neighbouring",),
    "epsilon, delta, definition": ("epsilon", "delta", "definition"),
    "contribution bounds and how enforced": ("paid_releases", "bounds_enforced"),
    "mechanism and l2_sensitivity": ("paid_releases",),
    "accountant, version, composition": ("accountant", "n_composed", "source_epsilon", "product_epsilon"),
    "PLD beside": ("pld_epsilon",),
    "sampling assumption": ("sampling",),
    "trust model": ("trust_model",),
    "what is not covered": ("not_covered",),
    "public inputs": ("public_inputs",),
    "noise source": ("noise_source",),
    "post-processing": ("post_processing",),
    "allocation and what remains": ("allocation",),
    "refresh policy": ("refresh_policy",),
    "utility and small-group error": ("utility", "small_groups"),
    "empirical audit and its limits": ("audit", "audit_limits"),
    "code version, config hash, reviewer, date": ("code_version", "config_hash", "reviewer", "date"),
}


def _spend(
    *events: Event, bounds: tuple[int, int] = (4, 3), epsilon: float = 8.0, lost: int = 0
) -> tuple[list[Entry], list[str]]:
    """Ledger rows of these events, the last ``lost`` of them left behind open; and their grants."""
    ledger = make_ledger(epsilon, Cap("statistics", Budget(6.0, DELTA), purpose="statistics"))
    grants = []
    for number, event in enumerate(events):
        query = make_query(f"q{number}", event=event, bounds=bounds)
        if number >= len(events) - lost:
            ledger.reserve(query)
        else:
            grants.append(answer_once(ledger, query, draw=lambda grant: redeem_grant(grant).name).grant_id)
    return list(ledger.store.entries()), grants


ENTRIES, GRANTS = _spend(ZeroConcentrated(0.05), SampledGaussian(1.5, 0.05, 40))


def _make(
    entries: Sequence[Entry] | None = None,
    *,
    name: str = "synthetic",
    choices: Choices = CHOICES,
    circumstances: Circumstances = CIRCUMSTANCES,
    mechanisms: Mapping[str, str] | None = None,
    grants: Sequence[str] = GRANTS,
    **more: Any,
) -> ClaimCard:
    product = Product(name, "release-a", ("release.a", "release.b"), frozenset(grants), mechanisms or {})
    given = {"utility": [FIGURE], "small_groups": [SMALL], "audit": AUDIT, **more}
    return make_card(
        product, ENTRIES if entries is None else entries, choices=choices, circumstances=circumstances, **given
    )


def _texts(card: ClaimCard) -> list[str]:
    return [card.to_json(), *(render_card(card, parse_wording(FILES, language)) for language in LANGUAGES)]


def test_every_field_of_a_claim_is_on_the_card() -> None:
    names = {field.name for field in dataclasses.fields(ClaimCard)}
    assert {name for fields in REQUIRED.values() for name in fields} <= names
    plain = json.loads(_make().to_json())
    assert set(plain) == names
    empty = {name for name, value in plain.items() if value in (None, "", [], {})}
    assert empty == {"pld_epsilon"}  # no PLD holds a zCDP event


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_section_is_headed_and_filled_in_both_languages(language: str) -> None:
    wording = parse_wording(FILES, language)
    text = render_card(_make(), wording)
    labels = [value for key, value in wording.words.items() if key.startswith("label.")]
    lines = text.splitlines()
    assert len(labels) == 24 and all(label in lines for label in labels)
    for label in labels:
        if label != wording.words["label.title"]:
            assert lines[lines.index(label) + 1].startswith("  "), label
    assert not re.search(r"\{\w*\}", text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_markdown_says_the_same_words_under_one_heading_per_section(language: str) -> None:
    wording = parse_wording(FILES, language)
    text = render_card(_make(), wording)
    lines = to_markdown(text).splitlines()
    assert lines[0] == f"# {wording.say('label.title')}"
    assert sum(line.startswith("## ") for line in lines) == text.count("\n\n")
    said = [line[2:].replace("\\", "") for line in lines if line.startswith("* ")]
    assert said == [line.strip() for line in text.splitlines() if line.startswith("  ")]


def test_both_languages_word_the_same_keys_with_the_same_places() -> None:
    chinese, english = (parse_wording(FILES, language).words for language in LANGUAGES)
    assert set(chinese) == set(english)
    for key in chinese:
        assert set(re.findall(r"\{(\w+)\}", chinese[key])) == set(re.findall(r"\{(\w+)\}", english[key])), key
    assert {key.removeprefix("metric.") for key in chinese if key.startswith("metric.")} == {
        metric for metric, basis in METRICS.items() if basis == PUBLIC
    }


def test_figures_are_those_of_the_ledger() -> None:
    card = _make()
    events = [decode_event(entry.event) for entry in ENTRIES if entry.kind == "reserve"]
    assert card.epsilon == card.source_epsilon == compute_epsilon(events, delta=DELTA) == ENTRIES[-1].epsilon
    assert (card.delta, card.n_composed) == (DELTA, 2)
    assert _make(grants=GRANTS[:1]).product_epsilon == compute_epsilon(events[:1], delta=DELTA)
    total, statistics = card.allocation
    assert (total.cap, total.epsilon, total.spent) == ("total", 8.0, card.epsilon)
    assert total.left == pytest.approx(8.0 - total.spent) and statistics.cap == "statistics"
    first = card.paid_releases[0]
    assert (first.max_cells, first.max_per_cell, first.l2_sensitivity) == (4, 3, 6.0)
    assert [paid.is_part for paid in _make(grants=GRANTS[:1]).paid_releases] == [True, False]


def test_what_a_crash_left_behind_is_spent_and_said() -> None:
    entries, grants = _spend(ZeroConcentrated(0.05), ZeroConcentrated(0.07), lost=1)
    card = _make(entries, grants=grants)
    assert [paid.is_committed for paid in card.paid_releases] == [True, False]
    assert card.epsilon == compute_epsilon([ZeroConcentrated(0.05), ZeroConcentrated(0.07)], delta=DELTA)
    assert "unfinished" in _texts(card)[2] and "未完成" in _texts(card)[1]


def test_pld_stands_beside_where_every_event_has_one() -> None:
    entries, grants = _spend(SampledGaussian(1.5, 0.05, 40))
    card = _make(entries, grants=grants)
    assert card.pld_epsilon is not None and card.epsilon is not None and 0 < card.pld_epsilon < card.epsilon
    assert all(f"{card.pld_epsilon:.4g}" in text for text in _texts(card)[1:])


_OTHER = Figure("set", "dropped_notes", "PHI_NAME", 0.123456)
_CHANGES: dict[str, dict[str, Any]] = {
    "reviewer": {"circumstances": replace(CIRCUMSTANCES, reviewer="隐私官 乙")},
    "date": {"circumstances": replace(CIRCUMSTANCES, date="2027-01-01T00:00:00+00:00")},
    "code_version": {"circumstances": replace(CIRCUMSTANCES, code_version="9.9.9")},
    "config_hash": {"circumstances": replace(CIRCUMSTANCES, config_hash="0123")},
    "public_inputs": {"circumstances": replace(CIRCUMSTANCES, public_inputs={"conf/codelists/": "ffff"})},
    "noise_source": {"circumstances": replace(CIRCUMSTANCES, versions={"opendp": "9.9", "numpy": "8.8"})},
    "trust_model": {"choices": replace(CHOICES, trust_model="other")},
    "refresh_policy": {"choices": replace(CHOICES, refresh_policy="other")},
    "bounds_enforced": {"choices": replace(CHOICES, bounds_enforced="other")},
    "not_covered": {"choices": replace(CHOICES, not_covered=("schema",))},
    "audit_limits": {"choices": replace(CHOICES, audit_limits=("one_run",))},
    "post_processing": {"choices": replace(CHOICES, post_processing={"synthetic": ("phi_scan",)})},
    "utility": {"utility": [_OTHER]},
    "small_groups": {"small_groups": [replace(SMALL, value=99.0)]},
    "audit": {"audit": EmpiricalAudit("loss", 2.13, 0.75, False)},
    "product": {"name": "dp_statistics"},
    "definition": {"grants": ()},
}
_LEDGERS: dict[str, tuple[list[Entry], list[str]]] = {
    "epsilon": _spend(ZeroConcentrated(0.06), SampledGaussian(1.5, 0.05, 40)),
    "source_epsilon": _spend(ZeroConcentrated(0.05), SampledGaussian(1.4, 0.05, 40)),
    "sampling": _spend(ZeroConcentrated(0.05), SampledGaussian(1.5, 0.04, 40)),
    "paid_releases": _spend(ZeroConcentrated(0.05), SampledGaussian(1.5, 0.05, 40), bounds=(2, 1)),
    "allocation": _spend(ZeroConcentrated(0.05), SampledGaussian(1.5, 0.05, 40), epsilon=7.0),
    "n_composed": _spend(ZeroConcentrated(0.05), PureEpsilon(0.01), SampledGaussian(1.5, 0.05, 40)),
    "noise_source": _spend(Gaussian(5.0)),
}


@pytest.mark.parametrize("field", _CHANGES)
def test_a_changed_fact_changes_the_card_and_its_texts(field: str) -> None:
    change = _CHANGES[field]
    words = {f"{field.replace('bounds_enforced', 'bounds')}.other": "something else"}
    before, after = _make(), _make(**change)
    assert getattr(before, field) != getattr(after, field)
    for language in LANGUAGES:
        wording = parse_wording(FILES, language)
        wording = replace(wording, words={**wording.words, **words})
        assert render_card(before, wording) != render_card(after, wording), language


@pytest.mark.parametrize("field", _LEDGERS)
def test_a_changed_ledger_changes_the_card_and_its_texts(field: str) -> None:
    entries, grants = _LEDGERS[field]
    before, after = _make(), _make(entries, grants=grants)
    assert getattr(before, field) != getattr(after, field)
    assert all(old != new for old, new in zip(_texts(before), _texts(after), strict=True))


def test_an_exact_mechanism_name_is_used_where_it_is_known() -> None:
    card = _make(mechanisms={GRANTS[0]: "exponential mechanism"})
    assert card.paid_releases[0].mechanism == "exponential mechanism"
    assert "指数机制" in _texts(card)[1] and "exponential mechanism" in _texts(card)[2]


def test_a_missing_reviewer_is_said_in_words() -> None:
    card = _make(circumstances=replace(CIRCUMSTANCES, reviewer="  "))
    assert card.reviewer is None
    assert "尚无人复核" in _texts(card)[1] and "nobody has reviewed" in _texts(card)[2]


def test_text_without_a_guarantee_claims_none() -> None:
    card = _make(name="notes", grants=())
    assert (card.definition, card.epsilon, card.delta, card.product_epsilon) == ("no_guarantee", None, None, None)
    assert card.source_epsilon is not None and card.source_epsilon > 0
    assert "not differentially private" in _texts(card)[2] and "不具有差分隐私" in _texts(card)[1]


def test_nothing_is_claimed_about_a_ledger_that_does_not_hold() -> None:
    product = Product("notes", "release-a", ("release.notes",))
    card = make_card(product, None, choices=CHOICES, circumstances=CIRCUMSTANCES)
    assert card.source_epsilon is None and card.allocation == ()
    assert "does not hold" in render_card(card, parse_wording(FILES, "en"))


def test_an_empty_ledger_costs_nothing() -> None:
    card = make_card(Product("notes", "a", ("release.notes",)), [], choices=CHOICES, circumstances=CIRCUMSTANCES)
    assert (card.source_epsilon, card.n_composed, card.sampling) == (0.0, 0, ())


def test_a_code_without_wording_is_refused() -> None:
    card = _make(choices=replace(CHOICES, not_covered=("moon",)))
    with pytest.raises(ConfigurationError, match=r"CLAIM_WORDING .*key=not_covered\.moon"):
        render_card(card, parse_wording(FILES, "zh"))


@pytest.mark.parametrize(
    ("text", "code"), [("trust_model = 1", "CLAIM_CARD"), ("=", "CONF_SYNTAX"), (None, "CONF_MISSING")]
)
def test_a_card_file_that_says_too_little_is_refused(text: str | None, code: str) -> None:
    files = {name: body for name, body in FILES.items() if name != "claim/card.toml"}
    with pytest.raises(ConfigurationError, match=code):
        parse_choices(files if text is None else {**files, "claim/card.toml": text})


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_mechanism_of_every_release_of_the_catalogue_is_worded(language: str) -> None:
    kinds = [release["kind"] for release in tomllib.loads(FILES["releases.toml"])["release"]]
    assert "top_k" in kinds and "threshold" in kinds
    wording = parse_wording(FILES, language)
    for kind in kinds:
        assert wording.say(f"mechanism.{name_mechanism(kind)}")
