"""Fictional and generalised places: addresses and care institutions.

Knows: the levels of a Chinese address and the suffixes of institution names. Must not know: spans, policies.
Streets and institutions are two-character inventions from a word list; only divisions are real names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ppsehr_spark.domain.protection.divisions import Division, Reading, read_divisions
from ppsehr_spark.domain.protection.draw import Draw
from ppsehr_spark.domain.protection.fiction import Fiction

_RANKS: Mapping[str, int] = {"province": 0, "city": 1, "county": 2}
_STREET = re.compile(r"(?:街道|大道|路|街|巷|弄|胡同|镇|乡|村|屯|庄|社区|小区|花园|家园|苑|园|里|新村|公寓|大厦)")
_DOOR = re.compile(r"[0-9０-９一二三四五六七八九十百甲乙丙]+\s*(?:号楼|号院|号|栋|幢|单元|室|户|层|楼|组|队|-|－|#)")


def draw_address(value: str, fiction: Fiction, draw: Draw) -> str | None:
    """A fictional address that names the same levels: divisions of another city, invented street, drawn door number."""
    reading = read_divisions(value, fiction.divisions)
    rest = value[reading.end :]
    county = _draw_county(reading, fiction, draw)
    divisions = "".join(_names_of(county, reading.levels or (("county",) if not rest else ())))
    street = _STREET.search(rest)
    street_name = f"{_draw_brand(fiction, draw)}{street[0]}" if street else ""
    doors = "".join(_draw_door(match, draw) for match in _DOOR.finditer(rest))
    if rest and not (street or doors):
        street_name = f"{_draw_brand(fiction, draw)}路"
    drawn = f"{divisions}{street_name}{doors}"
    return drawn if drawn and drawn != value else None


def generalise_address(value: str, level: str, fiction: Fiction) -> str | None:
    """The divisions of ``value`` down to ``level`` (``province``, ``city``, ``county``); full official names.

    What lies above is added only where the text names it. ``None`` when the place is not certain.
    """
    reading = read_divisions(value, fiction.divisions)
    place = reading.division
    if place is None or level not in _RANKS:
        return None
    if level == "province":
        return place.province
    named = [name for name in reading.levels if _RANKS[name] <= _RANKS[level]]
    levels = named or ["city" if place.city else "province"]
    return "".join(_names_of(place, tuple(levels)))


def draw_hospital(value: str, fiction: Fiction, draw: Draw) -> str | None:
    """A fictional institution with the same suffix; a brand short form (no suffix) becomes another brand."""
    suffix = next((s for s in fiction.hospital_suffixes if value.endswith(s)), "")
    drawn = f"{_draw_brand(fiction, draw)}{suffix}"
    return drawn if drawn != value else None


def hospital_core(value: str, fiction: Fiction) -> str:
    """What identifies an institution: its name without leading divisions and suffix.

    ``北京协和医院``, ``协和医院`` and ``协和`` share it, so they get one fictional brand.
    """
    compact = "".join(value.split())
    rest = compact[read_divisions(compact, fiction.divisions).end :]
    suffix = next((s for s in fiction.hospital_suffixes if rest.endswith(s) and len(rest) > len(s)), "")
    return rest.removesuffix(suffix) if suffix else rest or compact


def _draw_brand(fiction: Fiction, draw: Draw) -> str:
    return draw.pick(fiction.brand_heads) + draw.pick(fiction.brand_tails)


def _draw_county(reading: Reading, fiction: Fiction, draw: Draw) -> Division:
    """A county of another city than the one in the text."""
    counties = fiction.divisions.counties
    at = draw.below(len(counties))
    own = (reading.division.province, reading.division.city) if reading.division else ("", "")
    for step in range(len(counties)):
        county = counties[(at + step) % len(counties)]
        if (county.province, county.city) != own and county.province != own[0]:
            return county
    return counties[at]


def _names_of(place: Division, levels: tuple[str, ...]) -> list[str]:
    names = {"province": place.province, "city": place.city, "county": place.county}
    return list(dict.fromkeys(names[level] for level in levels if names[level]))


def _draw_door(match: re.Match[str], draw: Draw) -> str:
    unit = re.sub(r"^[0-9０-９一二三四五六七八九十百甲乙丙]+\s*", "", match[0])
    return f"{1 + draw.below(98)}{unit}"
