"""Province and prefecture-level city in which a person lives, as a registration desk writes them.

Knows: names of administrative divisions, full and short (``protection.divisions``). Must not know: notes, files.
Whatever names no division is unknown, so a whole address that a source keeps in such a field goes no further.
"""

from __future__ import annotations

from dataclasses import dataclass

from ppsehr_spark.domain.protection.divisions import Division, load_divisions


@dataclass(frozen=True, slots=True)
class Residence:
    """Full names; ``None`` when unknown. A municipality is its own city."""

    region: str | None = None
    city: str | None = None


def read_residence(region: str, city: str) -> Residence:
    """Read two registered fields, either of which may be empty.

    A city decides the province where none is given. A city of another province than the one given is not believed.
    """
    regions = {division.province for division in _find(region) if _is_region(division)}
    cities = {division for division in _find(city) if division.level == "city"}
    if len(regions) == 1:
        own = regions.pop()
        inside = {division.city for division in cities if division.province == own}
        # a municipality has one city whatever district the desk wrote into the second field
        inside = inside or {division.city for division in _find(own) if division.city == own}
        return Residence(own, inside.pop() if len(inside) == 1 else None)
    if len(cities) == 1:
        only = cities.pop()
        return Residence(only.province, only.city)
    return Residence()


def _find(name: str) -> tuple[Division, ...]:
    return load_divisions().by_name.get(name.strip(), ())


def _is_region(division: Division) -> bool:
    return not division.county and division.city in ("", division.province)
