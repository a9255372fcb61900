"""Every named mistake of the page ``docs/dp-proof.md``, as a mechanism that somebody watches from outside.

One estimator judges all of them: what is seen for two neighbouring sources must not refute the claim. Ours never does,
each planted mistake does. Claims are epsilon 1 at delta 1e-6 unless a case states its own. No seed is fixed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ppsehr_spark.errors import BudgetRefusedError, UsageError
from ppsehr_spark.evaluation.drift import build_sketch
from ppsehr_spark.privacy import noise
from ppsehr_spark.privacy.events import ZeroConcentrated
from ppsehr_spark.privacy.grants import Grant, redeem_grant
from ppsehr_spark.privacy.ledger import Ledger, answer_once
from ppsehr_spark.privacy.verification import verify_entries
from tests.privacy.small_ledger import DELTA, make_ledger, make_query
from tests.proofs.distinguishing import prove_epsilon
from tests.proofs.test_distinguishability import ONE, grant_for

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dp-proof.md"
#: Independent cells of one draw, answers to one question asked often, and draws one by one.
N_CELLS, N_TIMES, N_DRAWS = 4_000, 144, 600
#: What is seen, many times, when the patient is absent and when present.
Watch = Callable[[bool], Sequence[float]]


@dataclass(frozen=True)
class Case:
    """A mistake, how the product does the same thing, and the planted mistake."""

    mistake: str
    ours: Watch
    planted: Watch


def _draw(value: int, *, most: int = 1, n: int = N_CELLS) -> list[int]:
    return noise.draw_counts([value] * n, grant=grant_for(ONE, (1, most)))


def _gauss(value: float, scale: float, n: int = N_CELLS) -> list[int]:
    return [round(value + random.gauss(0, scale)) for _ in range(n)]


SCALE = 1 / math.sqrt(2 * ONE.rho)


def _noise_on_the_query(is_present: bool) -> Sequence[float]:
    """Whatever a model makes of the noised count is post-processing."""
    return [30 * value for value in _draw(50 + is_present)]


def _noise_on_the_output(is_present: bool) -> Sequence[float]:
    return _gauss(30 * (50 + is_present), SCALE)


def _scaled_by_the_data(is_present: bool) -> Sequence[float]:
    return _gauss(int(is_present), SCALE * is_present)


def _clipped(is_present: bool) -> Sequence[float]:
    most = 0.1 * (50 + is_present)
    return [50 + is_present + min(max(random.gauss(0, SCALE), -most), most) for _ in range(N_CELLS)]


def _ask_often(ledger_of: Callable[[int], Ledger], is_present: bool, run_of: Callable[[int], str]) -> Sequence[float]:
    """Sums over all answers that were granted; the noise of this test's own, for speed, of the reserved scale."""
    sums = np.zeros(N_CELLS)
    for k in range(N_TIMES):
        try:
            grant = ledger_of(k).reserve(make_query(f"q{k}", run_id=run_of(k), event=ONE))
        except BudgetRefusedError:
            continue
        assert isinstance(grant, Grant)
        redeem_grant(grant)
        sums += 50 + is_present + np.rint(np.random.default_rng().normal(0, SCALE, N_CELLS))
    return list(sums)


def _one_ledger(is_present: bool) -> Sequence[float]:
    ledger = make_ledger(1.0)
    return _ask_often(lambda _: ledger, is_present, lambda _: "r1")


def _each_question_alone(is_present: bool) -> Sequence[float]:
    return _ask_often(lambda _: make_ledger(1.0), is_present, lambda _: "r1")


def _one_ledger_for_all_nights(is_present: bool) -> Sequence[float]:
    ledger = make_ledger(1.0)
    return _ask_often(lambda _: ledger, is_present, lambda night: f"night {night}")


def _a_ledger_per_night(is_present: bool) -> Sequence[float]:
    return _ask_often(lambda _: make_ledger(1.0), is_present, lambda night: f"night {night}")


def _patient_level(is_present: bool) -> Sequence[float]:
    """A patient of twelve notes, of which the bound keeps four."""
    return _draw(50 + min(12 * is_present, 4), most=4)


def _note_level(is_present: bool) -> Sequence[float]:
    return _draw(50 + 12 * is_present, most=1)


def _no_seed(is_present: bool) -> Sequence[float]:
    seen = []
    for _ in range(N_DRAWS):
        random.seed(7)
        np.random.seed(7)
        seen += _draw(50 + is_present, n=1)
    return seen


def _fixed_seed(is_present: bool) -> Sequence[float]:
    return [round(50 + is_present + random.Random(7).gauss(0, SCALE)) for _ in range(N_DRAWS)]


def _has_fine_bits(value: float) -> bool:
    """Bits below 2^-53 in a number below 1/2: noise around 0 reaches them, a sum with something near 1 does not."""
    return abs(value) < 0.5 and not (value * 2.0**53).is_integer()


def _integers(is_present: bool) -> Sequence[float]:
    with pytest.raises(UsageError, match="VALUE_TYPE"):
        noise.draw_counts([float(is_present)], grant=grant_for(ONE))  # type: ignore[list-item]
    return [_has_fine_bits(value) for value in _draw(int(is_present))]


def _floats(is_present: bool) -> Sequence[float]:
    """Mironov 2012, "On significance of the least significant bits for differential privacy"."""
    drawn = np.log(1 - np.random.random(N_CELLS)) * np.random.choice([-1.0, 1.0], N_CELLS)
    return [_has_fine_bits(float(value)) for value in float(is_present) + drawn]


def _count_stays(is_present: bool) -> list[int]:
    """Forty patients of three days, and one of nine."""
    return [0, 0, 0, 40, 0, 0, 0, 0, 0, int(is_present)]


def _quantile(is_present: bool) -> Sequence[float]:
    counts = _count_stays(is_present)
    return [noise.draw_quantiles(counts, fractions=[(9, 10)], grant=grant_for(ONE))[0] for _ in range(N_DRAWS)]


def _digest(is_present: bool) -> Sequence[float]:
    counts = {value: n for value, n in enumerate(_count_stays(is_present)) if n}
    centroids = json.loads(build_sketch(counts))["centroids"]
    return [max(centroid["m"] for centroid in centroids)] * N_DRAWS


def _retry(is_present: bool, *, redraws: bool) -> Sequence[float]:
    """Means over what many tries of one run gave."""
    ledger, tries = make_ledger(math.inf if redraws else 1.0), []
    for k in range(N_TIMES):
        query = make_query(f"q{k * redraws}", event=ONE)
        tries.append(answer_once(ledger, query, draw=lambda grant: _draw_fast(50 + is_present, grant)).value)
    return [float(mean) for mean in np.mean(tries, axis=0)]


def _draw_fast(value: int, grant: Grant) -> list[int]:
    redeem_grant(grant)
    return _gauss(value, SCALE, 2_000)


def _refuse(is_present: bool, *, reads_first: bool) -> str:
    ledger, spent = make_ledger(1.0), make_query("spent", event=ONE)
    ledger.reserve(spent)
    exact = 50 + is_present
    with pytest.raises(BudgetRefusedError) as caught:
        answer_once(ledger, make_query(event=ONE), draw=lambda grant: noise.draw_counts([exact], grant=grant))
    return str(caught.value) + (f" near_value={exact}" if reads_first else "")


def _refusals(is_present: bool, *, reads_first: bool) -> Sequence[float]:
    return [zlib.crc32(_refuse(is_present, reads_first=reads_first).encode()) for _ in range(N_DRAWS)]


CASES = (
    Case("noise on the output instead of the query", _noise_on_the_query, _noise_on_the_output),
    Case("l2_sensitivity taken from the data", lambda is_present: _draw(int(is_present)), _scaled_by_the_data),
    Case("noise clipped to a share of the mean", lambda is_present: _draw(50 + is_present), _clipped),
    Case("no composition", _one_ledger, _each_question_alone),
    Case("note-level DP sold as patient-level", _patient_level, _note_level),
    Case("fixed noise seed", _no_seed, _fixed_seed),
    Case("float sums", _integers, _floats),
    Case("released t-digest", _quantile, _digest),
    Case("retry that redraws", lambda p: _retry(p, redraws=False), lambda p: _retry(p, redraws=True)),
    Case("refresh that forgets earlier spending", _one_ledger_for_all_nights, _a_ledger_per_night),
    Case(
        "refusal that leaks the exact value in its message",
        lambda p: _refusals(p, reads_first=False),
        lambda p: _refusals(p, reads_first=True),
    ),
)
RANDOM_EPSILON = "a random epsilon shown as computed"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.mistake)
def test_ours_keeps_the_claim_and_the_planted_mistake_is_refuted(case: Case) -> None:
    """Dwork and Roth 2014, Definition 2.4, by the estimator of Gilbert and McMillan 2018; see the case's own source."""
    assert prove_epsilon(case.ours(False), case.ours(True), delta=DELTA) <= 1.0
    assert prove_epsilon(case.planted(False), case.planted(True), delta=DELTA) > 1.0


def test_a_stated_epsilon_is_computed_and_a_random_one_is_refuted() -> None:
    """Every row's figure follows from the events of the rows before it (Mironov 2017, composition of RDP)."""
    ledger = make_ledger(8.0)
    for k in range(3):
        ledger.reserve(make_query(f"q{k}", event=ZeroConcentrated(0.01 * (k + 1))))
    rows = list(ledger.store.entries())
    assert not verify_entries(rows).faults
    planted = [dataclasses.replace(row, epsilon=random.uniform(0.1, 1.0)) for row in rows]
    assert {fault.reason for fault in verify_entries(planted).faults} == {"EPSILON_DIFFERS"}
    seen = [noise.draw_counts([value] * N_CELLS, grant=grant_for(ZeroConcentrated(2.0))) for value in (0, 1)]
    assert prove_epsilon(*seen, delta=DELTA) > random.uniform(0.1, 1.0), "and whoever looks sees that it is too small"


def test_every_mistake_of_the_page_has_a_case() -> None:
    rows = re.findall(r"^\| ([^|]+?) \|.*?\| `tests/", PAGE.read_text(encoding="utf-8"), re.M)
    assert sorted(row for row in rows if row.strip()) == sorted([*(case.mistake for case in CASES), RANDOM_EPSILON])
