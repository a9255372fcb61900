"""Who gets how much of rho: the division that makes a stated error smallest, in closed form.

Knows: how noise follows from rho. Must not know: data; typical sizes come from released values, if at all. It only
proposes: shares are what the privacy officer writes into ``conf/releases.toml``.

A release whose noise has the standard deviation ``c / sqrt(2 rho)`` and whose cells are of a typical size s has the
error ``w (c / (s sqrt(2 rho)))^p``, with p = 2 for squared and p = 1 for absolute error. Under a total, the sum of
these is least where ``rho`` is proportional to ``(w (c / s)^p)^(2 / (p + 2))``: the square root of ``w (c/s)^2``, or
the cube root of ``(w c/s)^2`` (Lagrange; each term is convex and falls in rho).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ppsehr_spark.privacy import catalogue as kinds
from ppsehr_spark.privacy.catalogue import Release
from ppsehr_spark.privacy.consistency import shrink_noise
from ppsehr_spark.privacy.releases import PlannedRelease

SQUARED, ABSOLUTE = 2, 1


@dataclass(frozen=True)
class Claim:
    """What one release puts forward.

    Attributes:
        noise_at_one: standard deviation of a cell at rho = 1/2, in patients or visits.
        size: typical size of a cell in the same unit; 1 makes its error absolute.
    """

    release_id: str
    noise_at_one: float
    weight: float
    size: float = 1.0


def make_claim(planned: PlannedRelease, size: float = 1.0) -> Claim | None:
    """The claim of a release; ``None`` where an error is in ranks or nothing is noised, so that it keeps its share."""
    sd = express_noise(planned)
    if not sd or not planned.rho:
        return None
    return Claim(planned.release.id, sd * math.sqrt(2 * planned.rho), planned.release.weight, size)


def express_noise(planned: PlannedRelease) -> float | None:
    """Noise of a cell in patients or visits, averaged over cells.

    Of a mean or variance, that of its number of visits; of a sum, in visits of the largest value; none for quantiles.
    """
    if planned.noise_sd is None:
        return None
    design = planned.part.design
    shares = shrink_noise(design) if design else [1.0]
    return planned.noise_sd / _unit(planned.release) * sum(shares) / len(shares)


def allocate_rho(claims: Sequence[Claim], total: float, *, power: int = SQUARED) -> dict[str, float]:
    """rho of every claim; they add up to ``total``.

    Args:
        power: ``SQUARED`` or ``ABSOLUTE`` error.
    """
    parts = {each.release_id: _strength(each, power) ** (2 / (power + 2)) for each in claims}
    whole = math.fsum(parts.values())
    return {name: total * part / whole for name, part in parts.items()}


def sum_error(claims: Sequence[Claim], rhos: Mapping[str, float], *, power: int = SQUARED) -> float:
    """The error that an allocation comes to; what ``allocate_rho`` makes smallest."""
    return math.fsum(_strength(each, power) * (2 * rhos[each.release_id]) ** (-power / 2) for each in claims)


def _strength(claim: Claim, power: int) -> float:
    return float(claim.weight * (claim.noise_at_one / claim.size) ** power)


def _unit(release: Release) -> int:
    width = release.span
    return {kinds.SUM: max(map(abs, release.clamp or (1,))), kinds.MEAN: width, kinds.VARIANCE: width * width}.get(
        release.kind, 1
    )
