"""The fit as conf states it: public domain, shares of the budget, and mistakes in the file named."""

from __future__ import annotations

import math

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.policy import parse_policy
from ppsehr_spark.synthesis.records import RecordPlan, count_cells, decode_domain, encode_domain, parse_record_plan
from ppsehr_spark.synthesis.records.domain import FIRST_VISIT, NEXT_VISIT
from ppsehr_spark.synthesis.records.model import list_given
from ppsehr_spark.synthesis.records.plan import BOUNDS

FILES = read_conf_files()
DELTA = 1e-7


@pytest.fixture(scope="module")
def plan() -> RecordPlan:
    return parse_record_plan(FILES, delta=DELTA)


def test_all_marginals_together_cost_what_the_file_says_and_fit_under_the_cap(plan: RecordPlan) -> None:
    cost = compute_epsilon([plan.event_of(marginal) for marginal in plan.marginals], delta=DELTA)
    assert 0.999 * plan.budget.epsilon < cost <= plan.budget.epsilon
    cap = next(cap for cap in parse_policy(FILES).caps if cap.purpose == "record_model")
    assert cost < cap.budget.epsilon


def test_noise_follows_from_the_share_and_one_row_per_patient(plan: RecordPlan) -> None:
    assert BOUNDS.l2_sensitivity == 1
    for marginal in plan.marginals:
        assert plan.noise_scale_of(marginal) == pytest.approx(math.sqrt(1 / (2 * plan.rho_of(marginal))))
    assert {marginal.record for marginal in plan.marginals} == {FIRST_VISIT, NEXT_VISIT}


def test_a_domain_survives_its_json(plan: RecordPlan) -> None:
    assert decode_domain(encode_domain(plan.domain)) == plan.domain
    with pytest.raises(ConfigurationError, match="RECORD_DOMAIN"):
        decode_domain('{"diagnoses": []}')


def test_an_unlisted_value_has_the_last_cell(plan: RecordPlan) -> None:
    assert plan.domain.cell("sex", "F") == 1
    assert plan.domain.cell("sex", "") == plan.domain.cell("sex", "X") == 2
    assert plan.domain.values("department")[plan.domain.cell("department", "not listed")] == "其他"
    assert count_cells(plan.marginals[0], plan.domain) == math.prod(plan.domain.shape(plan.marginals[0].attributes))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epsilon = 2.0", "epsilon = 0", "table=budget key=epsilon"),
        ("epsilon = 2.0", "epsilom = 2.0", "table=budget"),
        ("[budget]", "[budget", "CONF_SYNTAX"),
        ('"first_sex_age"', '"first_age_death"', "table=marginal key=name"),
        (
            'attributes = ["sex", "age_band"]',
            'attributes = ["sex", "gap"]',
            "table=marginal.first_sex_age key=attributes",
        ),
        ('attributes = ["sex", "age_band"]', 'attributes = ["sex", "sex"]', "key=attributes"),
        (
            'attributes = ["sex", "age_band"]',
            'attributes = ["diagnosis", "department", "age_band", "start_quarter"]',
            "at most 200000 cells",
        ),
        ('record = "next_visit"', 'record = "last_visit"', "key=record"),
        ("share = 2.0", "share = -1", "key=share"),
        ("edges = [0, 15, 31", "edges = [0, 31, 15", "table=bands.gap_days key=edges"),
        ("most = 95", "most = 12", "table=bands.age_years key=edges"),
        ('inpatient_diagnoses = ["O80.900"', 'inpatient_diagnoses = ["O99.999"', "key=inpatient_diagnoses"),
        ('same_day_types = ["门诊"]', 'same_day_types = ["体检"]', "key=inpatient_type"),
        ("first_year = 2019", "first_year = 2024", "table=values"),
        ("max_visits = 6", "max_visits = true", "key=max_visits"),
    ],
)
def test_a_mistake_in_the_file_is_named(old: str, new: str, said: str) -> None:
    text = FILES["record_model.toml"]
    assert old in text
    with pytest.raises(ConfigurationError) as caught:
        parse_record_plan({**FILES, "record_model.toml": text.replace(old, new)}, delta=DELTA)
    assert said in str(caught.value)


def test_what_an_attribute_depends_on_is_read_off_the_graph() -> None:
    given = list_given(
        FIRST_VISIT, cliques=[("sex", "age_band"), ("age_band", "department"), ("department", "diagnosis")]
    )
    assert given["age_band"] == ("sex",)
    assert given["diagnosis"] == ("age_band",), "through the department, which is drawn later"
    assert given["n_visits"] == (), "nothing ties it to the rest"
    chained = list_given(NEXT_VISIT, cliques=[("previous_diagnosis", "previous_department", "gap")])
    assert chained["gap"] == ("previous_diagnosis",), "a diagnosis implies its department"
