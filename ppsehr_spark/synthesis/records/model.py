"""The record model: for each attribute its distribution given those drawn before it.

Knows: tables of probability and the order of drawing. Must not know: how they were estimated, random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ppsehr_spark.synthesis.records.domain import FIRST_VISIT, NEXT_VISIT, RecordDomain

Floats: TypeAlias = NDArray[np.float64]
#: Order in which a record is drawn; an attribute may depend on all that stand before it.
DRAW_ORDER: dict[str, tuple[str, ...]] = {
    FIRST_VISIT: (
        "sex", "age_band", "diagnosis", "department", "encounter_type", "is_deceased", "n_visits", "start_quarter",
        "length_of_stay",
    ),
    NEXT_VISIT: (
        "sex", "previous_diagnosis", "previous_department", "gap", "age_band", "same_diagnosis", "diagnosis",
        "department", "encounter_type", "is_deceased", "length_of_stay",
    ),
}  # fmt: skip
#: Not drawn: it follows from a diagnosis, from an earlier visit or from a date.
FOLLOWS: dict[str, frozenset[str]] = {
    FIRST_VISIT: frozenset({"department"}),
    NEXT_VISIT: frozenset({"sex", "previous_diagnosis", "previous_department", "age_band", "department"}),
}


@dataclass(frozen=True, eq=False)
class Conditional:
    """Joint probability of ``given`` (all axes but the last) and ``attribute`` (last axis)."""

    attribute: str
    given: tuple[str, ...]
    joint: Floats

    @cached_property
    def overall(self) -> Floats:
        """Distribution of the attribute whatever the rest is."""
        summed: Floats = self.joint.reshape(-1, self.joint.shape[-1]).sum(axis=0)
        return summed


@dataclass(frozen=True, eq=False)
class RecordModel:
    """Everything that is needed to draw patients; all of it follows from released marginals.

    Attributes:
        totals: kind of record -> estimated number of patients that have one.
        conditionals: kind of record -> attribute -> its table.
        fitted: marginal name -> expected patients per cell under the model; consistent, never negative.
        noise_patients: mean standard deviation of the noise in the marginals of next visits, in patients.
    """

    domain: RecordDomain
    totals: Mapping[str, float]
    conditionals: Mapping[str, Mapping[str, Conditional]]
    fitted: Mapping[str, Floats]
    noise_patients: float


def list_given(record: str, *, cliques: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Attributes to be drawn -> what each depends on, exactly, among those drawn before it.

    In a Markov network these are the earlier attributes that touch the component of the attribute once the earlier ones
    are taken out (Lauritzen 1996, global Markov property).
    """
    neighbours: dict[str, set[str]] = {name: set() for name in DRAW_ORDER[record]}
    for clique in cliques:
        for name in clique:
            neighbours[name] |= set(clique) - {name}
    order = DRAW_ORDER[record]
    found = {}
    for at, name in enumerate(order):
        if name not in FOLLOWS[record]:
            found[name] = _drop_implied(_find_border(name, set(order[:at]), neighbours), order)
    return found


def _find_border(name: str, drawn: set[str], neighbours: Mapping[str, set[str]]) -> set[str]:
    """Drawn attributes next to the component of ``name`` among the undrawn ones."""
    border: set[str] = set()
    seen, waiting = {name}, [name]
    while waiting:
        for other in neighbours[waiting.pop()]:
            if other in drawn:
                border.add(other)
            elif other not in seen:
                seen.add(other)
                waiting.append(other)
    return border


def _drop_implied(border: set[str], order: Sequence[str]) -> tuple[str, ...]:
    """A listed diagnosis has one department, so given the one the other says nothing more."""
    for code, department in (("diagnosis", "department"), ("previous_diagnosis", "previous_department")):
        if code in border:
            border = border - {department}
    return tuple(name for name in order if name in border)
