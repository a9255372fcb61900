"""What the registration desk adds to a fictional patient: the province and city of the home, the ward of a stay.

Knows: which wards a department has (``data/wards.tsv``), how often a desk leaves a field empty. Must not know: notes,
the public lists that will count these values. Chance comes from a stream of its own, so that what was drawn
before these fields existed stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from ppsehr_spark.synthesis.simulator.datafiles import read_rows, split_weighted
from ppsehr_spark.synthesis.simulator.dice import Dice
from ppsehr_spark.synthesis.simulator.places import Division, name_city
from ppsehr_spark.synthesis.simulator.records import Encounter

#: Third part of the key of this stream; patients draw from (seed, index) alone.
_STREAM = 1
#: Few numbers are needed, and a block costs by its length.
_BLOCK = 32
_NO_HOME, _NO_CITY, _NO_WARD = 0.02, 0.05, 0.03
_WHOLE = "="


@dataclass(frozen=True, slots=True)
class Registration:
    """Fields of a patient and the encounters with their wards; ``""`` where the desk wrote nothing."""

    region: str
    city: str
    encounters: tuple[Encounter, ...]


def register(home: Division, encounters: Iterable[Encounter], *, seed: int, index: int) -> Registration:
    """Draw what the desk wrote: equal for equal (seed, index), home and encounters."""
    dice = Dice(seed, index, _STREAM, block=_BLOCK)
    form = dice.uniform()
    region = "" if form < _NO_HOME else home.province
    city = "" if form < _NO_HOME + _NO_CITY else name_city(home)
    return Registration(region, city, tuple(replace(each, ward=_draw_ward(dice, each)) for each in encounters))


def _draw_ward(dice: Dice, encounter: Encounter) -> str:
    wards = _load_wards().get(encounter.department)
    is_known = not dice.chance(_NO_WARD)
    return dice.weighted(*wards) if wards and is_known and encounter.encounter_type == "住院" else ""


@cache
def _load_wards() -> dict[str, tuple[tuple[str, ...], tuple[float, ...]]]:
    """Department -> full names of its wards with cumulative weights."""
    found = {}
    for row in read_rows("wards"):
        names, weights = split_weighted(row["wards"])
        department = row["department"]
        full = (name.removeprefix(_WHOLE) if name.startswith(_WHOLE) else department + name for name in names)
        found[department] = (tuple(full), weights)
    return found
