"""What will be asked to fit a record model: marginals, their shares of the budget, and the public domain.

Knows: ``conf/record_model.toml`` and the code lists. Must not know: data, ledgers. Everything is fixed before any data
are read.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ppsehr_spark.domain.codelists import Diagnosis, load_codelists
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.privacy.calibration import calibrate_rho
from ppsehr_spark.privacy.events import Event, Exact, ZeroConcentrated
from ppsehr_spark.privacy.units import Budget, ContributionBounds
from ppsehr_spark.synthesis.records.domain import RECORDS, Band, RecordDomain, RecordRules, Spacing
from ppsehr_spark.synthesis.records.marginals import Marginal, count_cells

PLAN_FILE = "record_model.toml"
#: One row per patient and kind of record, so one cell of each marginal, by 1.
BOUNDS = ContributionBounds(max_cells=1, max_per_cell=1)
_MOST_CELLS = 200_000
_TABLES = {"budget", "values", "bands", "rules", "marginal"}


@dataclass(frozen=True)
class RecordPlan:
    """A fit as it will be asked: ``rho`` of a marginal is its share of the whole; infinite epsilon means exact."""

    domain: RecordDomain
    marginals: tuple[Marginal, ...]
    budget: Budget
    rho: float

    def rho_of(self, marginal: Marginal) -> float:
        """Cost of one marginal."""
        return self.rho * marginal.share / sum(item.share for item in self.marginals)

    def event_of(self, marginal: Marginal) -> Event:
        """What the ledger records for it."""
        return Exact() if math.isinf(self.rho) else ZeroConcentrated(self.rho_of(marginal))

    def noise_scale_of(self, marginal: Marginal) -> float:
        """Standard deviation of the noise per cell (Canonne, Kamath and Steinke 2020, Theorem 4)."""
        return 0.0 if math.isinf(self.rho) else BOUNDS.l2_sensitivity / math.sqrt(2 * self.rho_of(marginal))


def parse_record_plan(files: Mapping[str, str], *, delta: float) -> RecordPlan:
    """Read the plan out of conf.

    Args:
        files: path below ``conf/`` -> text.
        delta: of the total cap.

    Raises:
        ConfigurationError: ``RECORD_MODEL`` with table and key at fault.
    """
    try:
        plain = tomllib.loads(files[PLAN_FILE])
    except KeyError:
        raise ConfigurationError("CONF_MISSING", file=PLAN_FILE) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("CONF_SYNTAX", file=PLAN_FILE, at=str(error)) from None
    _require(plain, "file", _TABLES)
    domain = _parse_domain(plain, load_codelists(files).departments, load_codelists(files).diagnoses)
    marginals = tuple(_parse_marginal(item, domain) for item in plain["marginal"])
    names = [marginal.name for marginal in marginals]
    if not names or len(set(names)) != len(names):
        raise _refuse("marginal", "name", "at least one marginal, and each name once")
    _require(plain["budget"], "budget", {"epsilon"})
    budget = Budget(_number(plain["budget"], "budget", "epsilon"), delta)
    return RecordPlan(domain, marginals, budget, math.inf if math.isinf(budget.epsilon) else calibrate_rho(budget))


def _parse_domain(
    plain: Mapping[str, Any], departments: tuple[str, ...], diagnoses: tuple[Diagnosis, ...]
) -> RecordDomain:
    values, bands = plain["values"], plain["bands"]
    _require(values, "values", {"encounter_types", "first_year", "last_year", "max_visits"})
    _require(bands, "bands", {"age_years", "stay_days", "gap_days"})
    types = _words(values, "values", "encounter_types")
    first, last, most = (_count(values, "values", name) for name in ("first_year", "last_year", "max_visits"))
    if not 1900 <= first <= last <= 9990 or most < 1 or not types:
        raise _refuse("values", "first_year", "a range of years, one visit or more, one encounter type or more")
    if any(diagnosis.department not in departments for diagnosis in diagnoses):
        raise _refuse("codelists/diagnoses.tsv", "department", "each department stands in departments.tsv, too")
    return RecordDomain(
        diagnoses=diagnoses, departments=departments, encounter_types=types,
        age_bands=_parse_bands(bands, "age_years"), stay_bands=_parse_bands(bands, "stay_days"),
        gap_bands=_parse_bands(bands, "gap_days"), first_year=first, last_year=last, max_visits=most,
        rules=_parse_rules(plain["rules"], types, {diagnosis.code for diagnosis in diagnoses}),
    )  # fmt: skip


def _parse_bands(plain: Mapping[str, Any], name: str) -> tuple[Band, ...]:
    where = f"bands.{name}"
    _require(plain[name], where, {"edges", "most"})
    edges = plain[name]["edges"]
    whole = isinstance(edges, list) and all(isinstance(edge, int) for edge in edges)
    bounds = [*edges, _count(plain[name], where, "most") + 1] if whole else []
    if not edges or not bounds or bounds[0] != 0 or any(a >= b for a, b in pairwise(bounds)):
        raise _refuse(where, "edges", "rising whole numbers from 0, most not below the last")
    return tuple(Band(low, high - 1) for low, high in pairwise(bounds))


def _parse_rules(plain: Mapping[str, Any], types: tuple[str, ...], codes: set[str]) -> RecordRules:
    _require(
        plain, "rules", {"same_day_types", "deathless_types", "inpatient_type", "inpatient_diagnoses"}, {"spacing"}
    )
    spacings = []
    for item in plain.get("spacing", []):
        _require(item, "rules.spacing", {"after", "then", "min_days"})
        after, then = (_words(item, "rules.spacing", key) for key in ("after", "then"))
        spacings.append(Spacing(after, then, _count(item, "rules.spacing", "min_days")))
    named = {key: _words(plain, "rules", key) for key in ("same_day_types", "deathless_types", "inpatient_diagnoses")}
    rules = RecordRules(inpatient_type=str(plain["inpatient_type"]), spacings=tuple(spacings), **named)
    if not {*rules.same_day_types, *rules.deathless_types, rules.inpatient_type} <= set(types):
        raise _refuse("rules", "inpatient_type", "each type stands in values.encounter_types, too")
    if not {*rules.inpatient_diagnoses, *(code for s in spacings for code in (*s.after, *s.then))} <= codes:
        raise _refuse("rules", "inpatient_diagnoses", "each code stands in codelists/diagnoses.tsv, too")
    return rules


def _parse_marginal(plain: Any, domain: RecordDomain) -> Marginal:
    where = f"marginal.{plain.get('name', '?')}" if isinstance(plain, Mapping) else "marginal"
    _require(plain, where, {"name", "record", "attributes", "share"})
    marginal = Marginal(
        str(plain["name"]), str(plain["record"]), _words(plain, where, "attributes"), _number(plain, where, "share")
    )
    known = RECORDS.get(marginal.record)
    if known is None:
        raise _refuse(where, "record", f"one of {', '.join(RECORDS)}")
    is_repeated = len(set(marginal.attributes)) != len(marginal.attributes)
    if not marginal.attributes or is_repeated or not set(marginal.attributes) <= set(known):
        raise _refuse(where, "attributes", f"each once, out of {', '.join(known)}")
    if not 0 < marginal.share < math.inf:
        raise _refuse(where, "share", "above 0")
    if count_cells(marginal, domain) > _MOST_CELLS:
        raise _refuse(where, "attributes", f"at most {_MOST_CELLS} cells")
    return marginal


def _require(plain: Any, where: str, required: set[str], optional: set[str] | None = None) -> None:
    names = set(plain) if isinstance(plain, Mapping) else set()
    wrong = sorted((required - names) | (names - required - (optional or set())))
    if wrong:
        raise _refuse(where, ",".join(wrong), "a key is missing or unknown")


def _words(plain: Mapping[str, Any], where: str, key: str) -> tuple[str, ...]:
    words = plain[key]
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise _refuse(where, key, "a list of texts")
    return tuple(words)


def _number(plain: Mapping[str, Any], where: str, key: str) -> float:
    number = plain[key]
    if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
        raise _refuse(where, key, "a number above 0")
    return float(number)


def _count(plain: Mapping[str, Any], where: str, key: str) -> int:
    number = plain[key]
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise _refuse(where, key, "a whole number, 0 or more")
    return int(number)


def _refuse(where: str, key: str, hint: str) -> ConfigurationError:
    return ConfigurationError("RECORD_MODEL", file=PLAN_FILE, table=where, key=key, hint=hint)
