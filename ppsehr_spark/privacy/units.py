"""What is promised and what may be spent: the privacy unit, guarantees, budgets and contribution bounds.

Knows: the unit of privacy (a patient with everything they own) and the shapes of a promise. Must not know: events,
accountants, data. Reference: Dwork and Roth 2014, Definition 2.4; NIST SP 800-226 (units and neighbouring relations).

A ``Guarantee`` is a statement about what has happened, a ``Budget`` a limit on what may happen, a query asks for
something (``ledger.Query``). None of them can stand for another, and none can be added: epsilons do not add, events
compose (``accounting``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ppsehr_spark.errors import UsageError

#: The only unit this product gives guarantees for; a note, a visit or a row is not one.
PRIVACY_UNIT = "patient"
#: Neighbouring sources differ by one patient, added or removed with everything they own.
NEIGHBOURING = "add_or_remove_one"


@dataclass(frozen=True)
class Guarantee:
    """(epsilon, delta)-DP of something that has happened.

    Attributes:
        epsilon: 0 or more; infinite for an exact answer.
        delta: in [0, 1).
        unit: what a neighbour differs by; only ``patient``.
        neighbouring: only ``add_or_remove_one``.
    """

    epsilon: float
    delta: float
    unit: str = PRIVACY_UNIT
    neighbouring: str = NEIGHBOURING

    def __post_init__(self) -> None:
        _require_epsilon_delta(self.epsilon, self.delta)
        if self.unit != PRIVACY_UNIT or self.neighbouring != NEIGHBOURING:
            hint = "a guarantee is about one patient with everything they own, added or removed"
            raise UsageError("PRIVACY_UNIT", unit=self.unit, hint=hint)


@dataclass(frozen=True)
class Budget:
    """The most that may ever be spent: epsilon (0 or more, infinite in tests) at one delta (in (0, 1))."""

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        _require_epsilon_delta(self.epsilon, self.delta)
        if self.delta == 0:
            raise UsageError("BUDGET_DELTA", hint="a budget needs a delta above 0")

    def admits(self, guarantee: Guarantee) -> bool:
        """True when the guarantee is at least as strong as this budget."""
        return guarantee.epsilon <= self.epsilon and guarantee.delta <= self.delta


@dataclass(frozen=True)
class ContributionBounds:
    """What one patient can change at most, enforced before aggregation and fixed before any data are read.

    Attributes:
        max_cells: cells of the released vector that one patient can touch, 1 or more.
        max_per_cell: integer amount by which one patient can change one cell, 1 or more.
    """

    max_cells: int
    max_per_cell: int

    def __post_init__(self) -> None:
        for name in ("max_cells", "max_per_cell"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError("CONTRIBUTION_BOUND", field=name, hint="bounds are public whole numbers, 1 or more")

    @property
    def l1_sensitivity(self) -> int:
        """Largest L1 change of the vector by one patient."""
        return self.max_cells * self.max_per_cell

    @property
    def l2_sensitivity(self) -> float:
        """Largest L2 change of the vector by one patient."""
        return math.sqrt(self.max_cells) * self.max_per_cell


def require_small_delta(budget: Budget, *, n_patients: int) -> None:
    """Refuse a delta that is not below 1 / patients: such a mechanism could publish a patient outright.

    Args:
        n_patients: public upper bound on the patients of the source, 1 or more; never counted from the data.

    Raises:
        UsageError: ``BUDGET_DELTA``.
    """
    if n_patients < 1 or budget.delta * n_patients >= 1:
        raise UsageError("BUDGET_DELTA", n_patients=n_patients, hint="delta must be below 1 / patients")


def _require_epsilon_delta(epsilon: float, delta: float) -> None:
    if math.isnan(epsilon) or epsilon < 0:
        raise UsageError("EPSILON", hint="epsilon is 0 or more")
    if math.isnan(delta) or not 0 <= delta < 1:
        raise UsageError("DELTA", hint="delta lies in [0, 1)")
