"""The catalogue of statistics that may be released, as ``conf/releases.toml`` states it.

Knows: the form of that file and what a release needs to be well defined before any data are read. Must not know: data,
which values a public list holds (the caller passes the names of lists and measures), what a release costs.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ppsehr_spark.errors import ConfigurationError, UsageError
from ppsehr_spark.privacy.key_forms import MOST_KEYS, count_keys
from ppsehr_spark.privacy.units import Budget

CATALOGUE_FILE = "releases.toml"
COUNT, HISTOGRAM, QUANTILE, SPANS = "count", "histogram", "quantile", "spans"
ENCOUNTERS, MONTHLY = "encounters", "monthly"
SUM, MEAN, VARIANCE = "sum", "mean", "variance"
HIERARCHY, CONTINGENCY = "hierarchy", "contingency"
TOP_K, THRESHOLD = "top_k", "threshold"
#: Kinds over a clamped measure; kinds measured at several levels and then made consistent.
MOMENTS, LEVELLED = (SUM, MEAN, VARIANCE), (HIERARCHY, CONTINGENCY)
#: The key that a monthly series adds to its public lists.
MONTH = "month"
#: Numerator and denominator of a quantile, such as (1, 4).
Fraction: TypeAlias = tuple[int, int]

_SHARED, _OPTIONAL = {"id", "title", "kind", "share", "unit"}, {"description", "weight"}
_MOMENT = ({"keys", "measure", "clamp", "max_cells"}, {"only", "max_per_cell", "max_encounters"})
_FIELDS: Mapping[str, tuple[set[str], set[str]]] = {
    COUNT: ({"keys", "max_cells"}, {"only"}),
    ENCOUNTERS: ({"keys", "max_cells"}, {"only", "max_per_cell", "max_encounters"}),
    MONTHLY: ({"window", "max_cells"}, {"keys", "only"}),
    SUM: _MOMENT,
    MEAN: _MOMENT,
    VARIANCE: _MOMENT,
    HIERARCHY: ({"levels"}, {"only", "max_encounters"}),
    CONTINGENCY: ({"keys"}, {"only", "max_encounters"}),
    TOP_K: ({"keys", "k", "max_cells"}, {"only"}),
    THRESHOLD: ({"key", "form", "max_cells", "delta"}, {"only"}),
    HISTOGRAM: ({"measure", "edges", "max_cells"}, {"only", "max_per_cell", "max_encounters"}),
    QUANTILE: ({"measure", "grid", "quantiles"}, {"only", "max_encounters"}),
    SPANS: ({"max_cells"}, set()),
}
_MOST_CANDIDATES = 10_000
_COUNTING_VISITS = (ENCOUNTERS, *MOMENTS, *LEVELLED)
_ROUNDING = 1e-9
_MONTH_FORM = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_MOST_MONTHS = 600


@dataclass(frozen=True)
class Release:
    """One statistic, defined without data.

    Attributes:
        id: name in the table and in the ledger.
        keys: public lists whose product gives the cells of a count; ``month`` comes first in a series.
        measure: what a histogram or quantile is of.
        only: public list -> the one value that rows are limited to.
        edges: lower ends of the bins of a histogram, rising; the last bin has no upper end.
        candidates: values among which a quantile is chosen, rising.
        quantiles: fractions in (0, 1).
        max_encounters: encounters of one patient that count at most; 0 where counting is by patient and cell.
        max_cells: cells that one patient can touch; a quantile's counts are bounded by ``max_encounters`` alone.
        max_per_cell: change of one cell by one patient.
        share: part of the stage's rho, in (0, 1].
        description: for readers; like title and unit no part of the question.
        clamp: lowest and highest value that a measure counts with.
        levels: lists from coarse to fine, each a refinement of the one before it.
        months: ``2023-01`` and so on, the public window of a series.
        k: how many of the candidates are named.
        form, delta: public form of keys that the data choose (``key_forms``), and what choosing them adds to delta.
        weight: how much the error of this release counts when an allocation is proposed.
    """

    id: str
    title: str
    kind: str
    share: float
    unit: str
    keys: tuple[str, ...] = ()
    measure: str = ""
    only: Mapping[str, str] = field(default_factory=dict)
    edges: tuple[int, ...] = ()
    candidates: tuple[int, ...] = ()
    quantiles: tuple[Fraction, ...] = ()
    max_encounters: int = 0
    max_cells: int = 1
    max_per_cell: int = 1
    description: str = ""
    clamp: tuple[int, int] | tuple[()] = ()
    levels: tuple[str, ...] = ()
    months: tuple[str, ...] = ()
    k: int = 0
    form: str = ""
    delta: float = 0.0
    weight: float = 1.0

    @property
    def span(self) -> int:
        """Width of the clamp; 0 without one."""
        return self.clamp[1] - self.clamp[0] if self.clamp else 0

    @property
    def is_per_patient(self) -> bool:
        """True for the histogram of a number that a whole patient has."""
        return self.kind == HISTOGRAM and not self.max_encounters


@dataclass(frozen=True)
class Catalogue:
    """Everything that one run of the stage releases, and what it may cost in all."""

    budget: Budget
    releases: tuple[Release, ...]
    suppress_below_sd: float


@dataclass(frozen=True)
class _Known:
    """Names that a catalogue may use."""

    lists: Mapping[str, Set[str]]
    measures: Set[str]
    patient_measures: Set[str]
    parents: Mapping[str, str]
    private_keys: Set[str]


def parse_catalogue(
    files: Mapping[str, str],
    *,
    delta: float,
    lists: Mapping[str, Set[str]],
    measures: Set[str],
    patient_measures: Set[str] = frozenset(),
    parents: Mapping[str, str] | None = None,
    private_keys: Set[str] = frozenset(),
) -> Catalogue:
    """Read ``conf/releases.toml``.

    Args:
        files: path below ``conf/`` -> text.
        delta: of the stage's budget, the policy's total delta.
        lists: name of each public list -> its values.
        measures: names of what visits are measured by.
        patient_measures: names of what a whole patient is measured by; for histograms alone.
        parents: list -> the coarser list that it refines.
        private_keys: what keys may be selected from by threshold.

    Raises:
        ConfigurationError: ``CONF_MISSING``, ``CONF_SYNTAX``, ``RELEASE_CATALOGUE`` (release, field).
    """
    plain = _parse_toml(files)
    _require_keys("file", plain, {"budget", "bounds", "display", "release"}, set())
    for table, key in (("budget", "epsilon"), ("bounds", "max_encounters"), ("display", "suppress_below_sd")):
        _require_keys(table, plain[table], {key}, set())
    most = _whole("bounds", plain["bounds"], "max_encounters")
    known = _Known(lists, measures, patient_measures, parents or {}, private_keys)
    releases = tuple(_parse_release(item, most, known) for item in plain["release"])
    ids = [release.id for release in releases]
    if len(set(ids)) != len(ids) or sum(release.share for release in releases) > 1 + _ROUNDING:
        raise _refuse("file", "share", "ids are distinct and shares add up to 1 at most")
    limit = _number("display", plain["display"], "suppress_below_sd")
    return Catalogue(_parse_budget(plain["budget"], delta), releases, limit)


def _parse_toml(files: Mapping[str, str]) -> dict[str, Any]:
    try:
        return tomllib.loads(files[CATALOGUE_FILE])
    except KeyError:
        raise ConfigurationError("CONF_MISSING", file=CATALOGUE_FILE) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("CONF_SYNTAX", file=CATALOGUE_FILE, at=str(error)) from None


def _parse_budget(plain: Mapping[str, Any], delta: float) -> Budget:
    """Finite and above zero: only a test may ask for exact answers, and never by this file."""
    epsilon = _number("budget", plain, "epsilon")
    try:
        return Budget(epsilon, delta)
    except UsageError:
        raise _refuse("budget", "epsilon", "epsilon is above 0 and finite") from None


def _parse_release(plain: Any, max_encounters: int, known: _Known) -> Release:
    where, kind = (str(plain.get(name, "")) if isinstance(plain, Mapping) else "" for name in ("id", "kind"))
    if not where or kind not in _FIELDS:
        raise _refuse(where or "release", "kind", f"one of {', '.join(_FIELDS)}, and an id")
    required, optional = _FIELDS[kind]
    _require_keys(where, plain, _SHARED | required, optional | _OPTIONAL)
    share = _number(where, plain, "share")
    if share > 1:
        raise _refuse(where, "share", "a share lies in (0, 1]")
    values: dict[str, Any] = {name: str(plain[name]) for name in ("id", "title", "kind", "unit")}
    values |= {"share": share, "only": _parse_only(where, plain, known.lists)}
    values |= {"description": str(plain["description"])} if "description" in plain else {}
    values |= {"weight": _number(where, plain, "weight")} if "weight" in plain else {}
    values |= _parse_cells(where, plain, known)
    if kind in (HISTOGRAM, QUANTILE):
        values |= _parse_measured(where, plain, max_encounters, known)
    if kind in _COUNTING_VISITS:
        values["max_encounters"] = _parse_encounters(where, plain, max_encounters)
    if kind in MOMENTS:
        values |= _parse_moment(where, plain, known.measures)
    for name in ("max_cells", "max_per_cell"):
        values |= {name: _whole(where, plain, name)} if name in plain else {}
    return Release(**values)


def _parse_cells(where: str, plain: Mapping[str, Any], known: _Known) -> dict[str, Any]:
    """What the cells of a release are made of."""
    values: dict[str, Any] = {}
    kind, n_keys = plain["kind"], len(plain.get("keys", []))
    if "keys" in plain:
        values["keys"] = _parse_keys(where, plain["keys"], known.lists)
    if (kind == CONTINGENCY and n_keys < 2) or (kind == TOP_K and not n_keys):
        raise _refuse(where, "keys", "a table needs two lists, a choice one")
    if kind == MONTHLY:
        values |= {"months": _parse_window(where, plain["window"]), "keys": (MONTH, *values.get("keys", ()))}
    if kind == HIERARCHY:
        values["levels"] = _parse_levels(where, plain["levels"], known)
    if kind == TOP_K:
        values["k"] = _whole(where, plain, "k")
    if kind == THRESHOLD:
        values |= _parse_threshold(where, plain, known.private_keys)
    return values


def _parse_threshold(where: str, plain: Mapping[str, Any], private_keys: Set[str]) -> dict[str, Any]:
    delta = _number(where, plain, "delta")
    if plain["key"] not in private_keys or delta >= 1:
        raise _refuse(where, "key,delta", f"one of {', '.join(sorted(private_keys))}, and a delta below 1")
    if not 2 <= count_keys(str(plain["form"])) <= MOST_KEYS:
        raise _refuse(where, "form", f"a form of at most {MOST_KEYS} keys")
    return {"keys": (str(plain["key"]),), "form": str(plain["form"]), "delta": delta}


def _parse_levels(where: str, levels: Any, known: _Known) -> tuple[str, ...]:
    names = _parse_keys(where, levels, known.lists)
    if len(names) < 2 or any(known.parents.get(fine) != coarse for coarse, fine in itertools.pairwise(names)):
        raise _refuse(where, "levels", "two or more lists, each refining the one before it")
    return names


def _parse_window(where: str, window: Any) -> tuple[str, ...]:
    """Every month from the first to the last; both are public, never those of the data."""
    _require_keys(where, window, {"first", "last"}, set())
    ends = [_MONTH_FORM.fullmatch(str(window[name])) for name in ("first", "last")]
    if not all(ends):
        raise _refuse(where, "window", "months such as 2023-01")
    first, last = (12 * int(end[1]) + int(end[2]) - 1 for end in ends if end)
    if not first <= last < first + _MOST_MONTHS:
        raise _refuse(where, "window", f"1 to {_MOST_MONTHS} months")
    return tuple(f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(first, last + 1))


def _parse_moment(where: str, plain: Mapping[str, Any], measures: Set[str]) -> dict[str, Any]:
    _require_keys(where, plain["clamp"], {"low", "high"}, set())
    low, high = plain["clamp"]["low"], plain["clamp"]["high"]
    if plain["measure"] not in measures or type(low) is not int or type(high) is not int:
        raise _refuse(where, "measure,clamp", f"one of {', '.join(sorted(measures))}, clamped to whole numbers")
    if not 1 <= high - low < _MOST_CANDIDATES:
        raise _refuse(where, "clamp", f"low below high, at most {_MOST_CANDIDATES} values")
    return {"measure": plain["measure"], "clamp": (low, high)}


def _parse_keys(where: str, keys: Any, lists: Mapping[str, Set[str]]) -> tuple[str, ...]:
    if not isinstance(keys, list) or len(set(keys)) != len(keys) or not set(keys) <= set(lists):
        raise _refuse(where, "keys", f"distinct public lists among {', '.join(sorted(lists))}")
    return tuple(keys)


def _parse_only(where: str, plain: Mapping[str, Any], lists: Mapping[str, Set[str]]) -> dict[str, str]:
    only = plain.get("only", {})
    if not isinstance(only, Mapping) or any(value not in lists.get(name, ()) for name, value in only.items()):
        raise _refuse(where, "only", "a public list and one of its values")
    return {str(name): str(value) for name, value in only.items()}


def _parse_measured(where: str, plain: Mapping[str, Any], max_encounters: int, known: _Known) -> dict[str, Any]:
    is_per_patient = plain["kind"] == HISTOGRAM and plain["measure"] in known.patient_measures
    if plain["measure"] not in known.measures and not is_per_patient:
        raise _refuse(where, "measure", f"one of {', '.join(sorted(known.measures))}")
    values: dict[str, Any] = {"measure": plain["measure"]}
    if not is_per_patient:
        values["max_encounters"] = _parse_encounters(where, plain, max_encounters)
    elif {"max_encounters", "max_per_cell"} & set(plain) or plain["max_cells"] != 1:
        raise _refuse(where, "max_cells", "a number that a whole patient has falls into one cell, once")
    if plain["kind"] == HISTOGRAM:
        return {**values, "edges": _parse_edges(where, plain["edges"])}
    quantiles = tuple(_parse_fraction(where, text) for text in plain["quantiles"])
    if not quantiles or len({low / whole for low, whole in quantiles}) != len(quantiles):
        raise _refuse(where, "quantiles", "one or more different fractions")
    return {**values, "candidates": _parse_grid(where, plain["grid"]), "quantiles": quantiles}


def _parse_encounters(where: str, plain: Mapping[str, Any], most: int) -> int:
    own = _whole(where, plain, "max_encounters") if "max_encounters" in plain else most
    if own > most:
        raise _refuse(where, "max_encounters", "not above that of [bounds]")
    return own


def _parse_edges(where: str, edges: Any) -> tuple[int, ...]:
    is_whole = isinstance(edges, list) and all(type(edge) is int for edge in edges)
    if not is_whole or len(edges) < 2 or edges != sorted(set(edges)):
        raise _refuse(where, "edges", "two or more whole numbers, rising")
    return tuple(edges)


def _parse_grid(where: str, grid: Any) -> tuple[int, ...]:
    _require_keys(where, grid, {"first", "last", "step"}, set())
    if any(type(value) is not int for value in grid.values()) or grid["step"] < 1:
        raise _refuse(where, "grid", "whole numbers, the step 1 or more")
    candidates = range(grid["first"], grid["last"] + 1, grid["step"])
    if not 2 <= len(candidates) <= _MOST_CANDIDATES:
        raise _refuse(where, "grid", f"2 to {_MOST_CANDIDATES} candidates")
    return tuple(candidates)


def _parse_fraction(where: str, text: Any) -> Fraction:
    numerator, _, denominator = str(text).partition("/")
    if not (numerator.isdecimal() and denominator.isdecimal() and 0 < int(numerator) < int(denominator)):
        raise _refuse(where, "quantiles", "fractions between 0 and 1, such as 1/4")
    return int(numerator), int(denominator)


def _require_keys(where: str, plain: Any, required: set[str], optional: set[str]) -> None:
    names = set(plain) if isinstance(plain, Mapping) else set()
    wrong = sorted((required - names) | (names - required - optional))
    if wrong:
        raise _refuse(where, ",".join(wrong), "a key is missing or unknown")


def _whole(where: str, plain: Mapping[str, Any], name: str) -> int:
    value = plain[name]
    if type(value) is not int or value < 1:
        raise _refuse(where, name, "a whole number, 1 or more")
    return value


def _number(where: str, plain: Mapping[str, Any], name: str) -> float:
    value = plain[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise _refuse(where, name, "a finite number above 0")
    return float(value)


def _refuse(where: str, name: str, hint: str) -> ConfigurationError:
    return ConfigurationError("RELEASE_CATALOGUE", file=CATALOGUE_FILE, release=where, field=name, hint=hint)
