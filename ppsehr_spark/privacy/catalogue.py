"""The catalogue of statistics that may be released, as ``conf/releases.toml`` states it.

Knows: the form of that file and what a release needs to be well defined before any data are read. Must not know: data,
which values a public list holds (the caller passes the names of lists and measures), what a release costs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ppsehr_spark.errors import ConfigurationError, UsageError
from ppsehr_spark.privacy.units import Budget

CATALOGUE_FILE = "releases.toml"
COUNT, HISTOGRAM, QUANTILE, SPANS = "count", "histogram", "quantile", "spans"
#: Numerator and denominator of a quantile, such as (1, 4).
Fraction: TypeAlias = tuple[int, int]

_SHARED = {"id", "title", "kind", "share", "unit"}
_FIELDS: Mapping[str, tuple[set[str], set[str]]] = {
    COUNT: ({"keys", "max_cells"}, {"only"}),
    HISTOGRAM: ({"measure", "edges", "max_cells"}, {"only", "max_per_cell", "max_encounters"}),
    QUANTILE: ({"measure", "grid", "quantiles"}, {"only", "max_encounters"}),
    SPANS: ({"max_cells"}, set()),
}
_MOST_CANDIDATES = 10_000
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Release:
    """One statistic, defined without data.

    Attributes:
        id: name in the table and in the ledger.
        keys: public lists whose product gives the cells of a count.
        measure: what a histogram or quantile is of.
        only: public list -> the one value that rows are limited to.
        edges: lower ends of the bins of a histogram, rising; the last bin has no upper end.
        candidates: values among which a quantile is chosen, rising.
        quantiles: fractions in (0, 1).
        max_encounters: encounters of one patient that count at most; 0 where counting is by patient and cell.
        max_cells: cells that one patient can touch; a quantile's counts are bounded by ``max_encounters`` alone.
        max_per_cell: change of one cell by one patient.
        share: part of the stage's rho, in (0, 1].
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


@dataclass(frozen=True)
class Catalogue:
    """Everything that one run of the stage releases, and what it may cost in all."""

    budget: Budget
    releases: tuple[Release, ...]
    suppress_below_sd: float


def parse_catalogue(
    files: Mapping[str, str], *, delta: float, lists: Mapping[str, Set[str]], measures: Set[str]
) -> Catalogue:
    """Read ``conf/releases.toml``.

    Args:
        files: path below ``conf/`` -> text.
        delta: of the stage's budget, the policy's total delta.
        lists: name of each public list -> its values.
        measures: names of what histograms and quantiles may be of.

    Raises:
        ConfigurationError: ``CONF_MISSING``, ``CONF_SYNTAX``, ``RELEASE_CATALOGUE`` (release, field).
    """
    plain = _parse_toml(files)
    _require_keys("file", plain, {"budget", "bounds", "display", "release"}, set())
    for table, key in (("budget", "epsilon"), ("bounds", "max_encounters"), ("display", "suppress_below_sd")):
        _require_keys(table, plain[table], {key}, set())
    most = _whole("bounds", plain["bounds"], "max_encounters")
    releases = tuple(_parse_release(item, most, lists, measures) for item in plain["release"])
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


def _parse_release(plain: Any, max_encounters: int, lists: Mapping[str, Set[str]], measures: Set[str]) -> Release:
    where, kind = (str(plain.get(name, "")) if isinstance(plain, Mapping) else "" for name in ("id", "kind"))
    if not where or kind not in _FIELDS:
        raise _refuse(where or "release", "kind", f"one of {', '.join(_FIELDS)}, and an id")
    required, optional = _FIELDS[kind]
    _require_keys(where, plain, _SHARED | required, optional)
    share = _number(where, plain, "share")
    if share > 1:
        raise _refuse(where, "share", "a share lies in (0, 1]")
    values: dict[str, Any] = {name: str(plain[name]) for name in ("id", "title", "kind", "unit")}
    values |= {"share": share, "only": _parse_only(where, plain, lists)}
    if kind == COUNT:
        values["keys"] = _parse_keys(where, plain["keys"], lists)
    if kind in (HISTOGRAM, QUANTILE):
        values |= _parse_measured(where, plain, max_encounters, measures)
    for name in ("max_cells", "max_per_cell"):
        values |= {name: _whole(where, plain, name)} if name in plain else {}
    return Release(**values)


def _parse_keys(where: str, keys: Any, lists: Mapping[str, Set[str]]) -> tuple[str, ...]:
    if not isinstance(keys, list) or not keys or len(set(keys)) != len(keys) or not set(keys) <= set(lists):
        raise _refuse(where, "keys", f"distinct public lists among {', '.join(sorted(lists))}")
    return tuple(keys)


def _parse_only(where: str, plain: Mapping[str, Any], lists: Mapping[str, Set[str]]) -> dict[str, str]:
    only = plain.get("only", {})
    if not isinstance(only, Mapping) or any(value not in lists.get(name, ()) for name, value in only.items()):
        raise _refuse(where, "only", "a public list and one of its values")
    return {str(name): str(value) for name, value in only.items()}


def _parse_measured(where: str, plain: Mapping[str, Any], max_encounters: int, measures: Set[str]) -> dict[str, Any]:
    if plain["measure"] not in measures:
        raise _refuse(where, "measure", f"one of {', '.join(sorted(measures))}")
    own = _whole(where, plain, "max_encounters") if "max_encounters" in plain else max_encounters
    if own > max_encounters:
        raise _refuse(where, "max_encounters", "not above that of [bounds]")
    values: dict[str, Any] = {"measure": plain["measure"], "max_encounters": own}
    if plain["kind"] == HISTOGRAM:
        return {**values, "edges": _parse_edges(where, plain["edges"])}
    quantiles = tuple(_parse_fraction(where, text) for text in plain["quantiles"])
    if not quantiles or len(set(quantiles)) != len(quantiles):
        raise _refuse(where, "quantiles", "one or more different fractions")
    return {**values, "candidates": _parse_grid(where, plain["grid"]), "quantiles": quantiles}


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
