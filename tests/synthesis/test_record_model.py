"""The record model against the truth: exact marginals come back in the patients, and nobody is impossible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest

from ppsehr_spark.config import SimulateSettings, read_conf_files
from ppsehr_spark.domain.codelists import load_codelists
from ppsehr_spark.errors import UsageError
from ppsehr_spark.synthesis.records import (
    RecordModel,
    RecordPlan,
    ReleasedMarginal,
    SyntheticEncounter,
    SyntheticPatient,
    count_cells,
    estimate,
    find_impossibility,
    parse_record_plan,
    sample_patients,
    tabulate,
)
from ppsehr_spark.synthesis.records.ages import count_years, find_births
from ppsehr_spark.synthesis.records.domain import FIRST_VISIT, NEXT_VISIT
from ppsehr_spark.synthesis.records.inference import LogFactor, compute_joint
from ppsehr_spark.synthesis.records.marginals import Marginal
from ppsehr_spark.synthesis.records.zeros import list_zeros
from ppsehr_spark.synthesis.simulator import simulate_record
from tests.synthesis.plain_rows import choose_pairs, count_rows, first_rows, make_tables, pair_rows

pytestmark = pytest.mark.slow  # jax compiles the estimation first

FILES = read_conf_files()
CODELISTS = load_codelists(FILES)
N_TRUE, N_SAMPLED = 3000, 20_000
Rows = Mapping[str, list[dict[str, str]]]


@dataclass(frozen=True)
class World:
    """True rows, the model of their exact counts, and patients drawn from it."""

    plan: RecordPlan
    rows: Rows
    model: RecordModel
    patients: tuple[SyntheticPatient, ...]

    def count(self, marginal: Marginal) -> np.ndarray:
        return np.array(count_rows(self.rows[marginal.record], marginal, self.plan.domain))


def _release(
    plan: RecordPlan, fill: Callable[[Marginal, int], np.ndarray], *, is_exact: bool
) -> list[ReleasedMarginal]:
    return [
        ReleasedMarginal(
            m.name, m.record, m.attributes, fill(m, count_cells(m, plan.domain)).astype(np.int64),
            0.0 if is_exact else plan.noise_scale_of(m), plan.rho_of(m), "grant",
        )
        for m in plan.marginals
    ]  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    plan = parse_record_plan(FILES, delta=1e-7)
    visits, people = make_tables([simulate_record(index, SimulateSettings()) for index in range(N_TRUE)])
    rows = {FIRST_VISIT: first_rows(visits, people), NEXT_VISIT: choose_pairs(pair_rows(visits, people))}
    exact = _release(plan, lambda m, _: np.array(count_rows(rows[m.record], m, plan.domain)), is_exact=True)
    model = estimate(plan.domain, exact)
    return World(plan, rows, model, sample_patients(model, n_patients=N_SAMPLED, seed=1))


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Total variation."""
    return float(np.abs(a / a.sum() - b / b.sum()).sum() / 2)


def test_exact_marginals_are_fitted(world: World) -> None:
    assert world.model.totals[FIRST_VISIT] == pytest.approx(N_TRUE)
    for marginal in world.plan.marginals:
        assert _distance(world.model.fitted[marginal.name], world.count(marginal)) < 0.02, marginal.name


@pytest.mark.parametrize(("record", "limit"), [(FIRST_VISIT, 0.05), (NEXT_VISIT, 0.2)])
def test_drawn_patients_have_the_true_marginals(world: World, record: str, limit: float) -> None:
    """Follow-up visits come out of a chain that is conditioned on the patient, so they are further off."""
    for marginal in world.plan.marginals:
        if marginal.record == record:
            drawn = tabulate(world.patients, marginal, world.plan.domain)
            assert _distance(drawn, world.count(marginal)) < limit, marginal.name


@pytest.mark.parametrize("record", [FIRST_VISIT, NEXT_VISIT])
@pytest.mark.parametrize(
    "attribute", ["sex", "age_band", "diagnosis", "department", "encounter_type", "length_of_stay", "is_deceased"]
)
def test_drawn_patients_have_the_true_single_attributes(world: World, record: str, attribute: str) -> None:
    marginal = Marginal("one", record, (attribute,))
    drawn = tabulate(world.patients, marginal, world.plan.domain)
    assert _distance(drawn, world.count(marginal)) < (0.03 if record == FIRST_VISIT else 0.12)


def test_nobody_drawn_is_impossible(world: World) -> None:
    found = {find_impossibility(patient, CODELISTS, domain=world.plan.domain) for patient in world.patients}
    assert found == {""}


def test_visits_follow_one_another(world: World) -> None:
    several = [patient for patient in world.patients if len(patient.encounters) > 1]
    assert len(several) > N_SAMPLED / 3
    for patient in several:
        for before, after in pairwise(patient.encounters):
            assert before.position + 1 == after.position
            assert before.discharged_on < after.admitted_on
            assert before.age_years <= after.age_years and not before.is_deceased
    assert any(patient.encounters[-1].is_deceased for patient in several)


def test_a_seed_gives_the_same_patients_and_more_of_them_begin_alike(world: World) -> None:
    few = sample_patients(world.model, n_patients=30, seed=1)
    assert few == world.patients[:30]
    assert few != sample_patients(world.model, n_patients=30, seed=2)
    with pytest.raises(UsageError, match="SAMPLE_SIZE"):
        sample_patients(world.model, n_patients=-1, seed=1)


@pytest.mark.parametrize(
    ("name", "fill"),
    [
        ("zero", lambda m, n: np.zeros(n)),
        ("negative", lambda m, n: np.full(n, -1000)),
        ("huge", lambda m, n: np.where(np.arange(n) % 7 == 3, 2**61, -(2**61))),
        ("noise", lambda m, n: np.random.default_rng(len(m.name)).normal(0, 1e6, n)),
        ("only what is not listed", lambda m, n: np.where(np.arange(n) == n - 1, 500, 0)),
    ],
)
def test_whatever_the_noise_nobody_is_impossible(
    world: World, name: str, fill: Callable[[Marginal, int], np.ndarray]
) -> None:
    model = estimate(world.plan.domain, _release(world.plan, fill, is_exact=False))
    patients = sample_patients(model, n_patients=700, seed=3)
    assert {find_impossibility(patient, CODELISTS, domain=world.plan.domain) for patient in patients} == {""}
    assert all(np.isfinite(table).all() and (table >= 0).all() for table in model.fitted.values())


def test_what_cannot_be_has_no_mass(world: World) -> None:
    """A man who gives birth: probability 0 in the model itself, not only in what is drawn."""
    domain = world.plan.domain
    zeros = {item.attributes: item.impossible for item in list_zeros(FIRST_VISIT, domain)}
    table = world.model.conditionals[FIRST_VISIT]["diagnosis"]
    assert table.given == ("sex", "age_band")
    forbidden = zeros["sex", "age_band", "diagnosis"]
    assert len(forbidden) > 300 and table.joint[tuple(forbidden.T)].sum() == 0
    birth = (domain.cell("sex", "M"), domain.cell("age_band", "30-39"), domain.cell("diagnosis", "O80.900"))
    assert birth in {tuple(row) for row in forbidden.tolist()}
    woman = (domain.cell("sex", "F"), *birth[1:])
    assert woman not in {tuple(row) for row in forbidden.tolist()}


# --- the judge itself ---


def _visit(position: int, came: date, days: int, age: int, **more: object) -> SyntheticEncounter:
    visit = SyntheticEncounter(
        f"S1-{position}",
        "S1",
        position,
        "住院",
        "产科",
        "O80.900",
        "足月妊娠分娩",
        age,
        came,
        came + timedelta(days),
        False,
    )
    return replace(visit, **more)


def _mother() -> SyntheticPatient:
    first, second = _visit(1, date(2020, 3, 10), 4, 29), _visit(2, date(2022, 3, 9), 4, 31)
    return SyntheticPatient("S1", "F", 1990, (first, second))


def _broken() -> Iterator[tuple[str, SyntheticPatient]]:
    mother = _mother()
    first, second = mother.encounters
    yield "SEX", replace(mother, sex="X")
    yield "NO_VISIT", replace(mother, encounters=())
    yield "DIAGNOSIS_AND_PATIENT", replace(mother, sex="M")
    yield "AGE_AND_DATES", replace(mother, birth_year=1989)
    yield "AGE_AND_DATES", replace(mother, encounters=(first, replace(second, age_years=32)))
    yield "VISIT_AFTER_DEATH", replace(mother, encounters=(replace(first, is_deceased=True), second))
    yield "VISITS_OVERLAP", replace(mother, encounters=(replace(first, discharged_on=date(2022, 4, 1)), second))
    yield "POSITION", replace(mother, encounters=(first, replace(second, position=3)))
    yield "DIAGNOSIS_NOT_LISTED", replace(mother, encounters=(replace(first, diagnosis_code="O99.999"),))
    yield "DIAGNOSIS_NOT_LISTED", replace(mother, encounters=(replace(first, diagnosis_name="肺炎"),))
    yield "DIAGNOSIS_AND_DEPARTMENT", replace(mother, encounters=(replace(first, department="骨科"),))
    yield "DISCHARGED_BEFORE_ADMITTED", replace(mother, encounters=(replace(first, discharged_on=date(2020, 3, 9)),))
    yield "ENCOUNTER_TYPE", replace(mother, encounters=(replace(first, encounter_type="体检"),))
    yield "DIAGNOSIS_AND_TYPE", replace(mother, encounters=(replace(first, encounter_type="急诊"),))
    yield "STAY_AND_TYPE", replace(mother, encounters=(replace(first, encounter_type="门诊"),))
    yield "YEAR", replace(mother, birth_year=1981, encounters=(_visit(1, date(2011, 3, 1), 2, 29),))
    soon = _visit(2, date(2020, 5, 1), 4, 30)
    yield "TOO_SOON", replace(mother, encounters=(first, replace(soon, age_years=29)))


def test_the_judge_lets_a_possible_patient_pass(world: World) -> None:
    assert find_impossibility(_mother(), CODELISTS, domain=world.plan.domain) == ""


@pytest.mark.parametrize(("reason", "patient"), list(_broken()))
def test_the_judge_sees_what_cannot_be(world: World, reason: str, patient: SyntheticPatient) -> None:
    assert find_impossibility(patient, CODELISTS, domain=world.plan.domain) == reason


def test_tabulate_puts_each_patient_into_one_cell(world: World) -> None:
    domain = world.plan.domain
    first = tabulate([_mother()], Marginal("m", FIRST_VISIT, ("start_quarter", "n_visits")), domain)
    assert first.sum() == 1
    at = (domain.cell("start_quarter", "2020Q1"), domain.cell("n_visits", "2"))
    assert first.reshape(domain.shape(("start_quarter", "n_visits")))[at] == 1
    pair = tabulate([_mother()], Marginal("m", NEXT_VISIT, ("same_diagnosis", "gap")), domain)
    at = (domain.cell("same_diagnosis", "是"), domain.cell("gap", "366-730"))
    assert pair.reshape(domain.shape(("same_diagnosis", "gap")))[at] == 1
    alone = replace(_mother(), encounters=_mother().encounters[:1])
    assert tabulate([alone], Marginal("m", NEXT_VISIT, ("gap",)), domain).sum() == 0


# --- small parts ---


@pytest.mark.parametrize(
    "day", [date(2020, 2, 29), date(2021, 2, 28), date(2021, 3, 1), date(2020, 12, 31), date(2020, 1, 1)]
)
@pytest.mark.parametrize("age", [0, 1, 4, 80])
def test_births_are_exactly_those_that_give_the_age(day: date, age: int) -> None:
    first, last = find_births(age, day)
    around = (first + timedelta(days=n) for n in range(-3, (last - first).days + 4))
    assert {birth for birth in around if count_years(birth, day) == age} == {
        first + timedelta(days=n) for n in range((last - first).days + 1)
    }


def test_elimination_equals_the_full_product() -> None:
    generator = np.random.default_rng(4)
    sizes = {"a": 2, "b": 3, "c": 4, "d": 2}
    cliques = [("a", "b"), ("b", "c"), ("d", "c"), ("d", "a")]
    factors = [LogFactor(c, generator.normal(0, 30, [sizes[name] for name in c])) for c in cliques]
    factors[0].values[0, 1] = -np.inf
    ab, bc, dc, da = (factor.values for factor in factors)
    full = np.exp(ab[:, :, None, None] + bc[None, :, :, None] + dc.T[None, None, :, :] + da.T[:, None, None, :])
    joint = compute_joint(factors, ("c", "a"))
    assert joint == pytest.approx(full.sum(axis=(1, 3)).T / full.sum())
