"""The cost model of names: orderings that must hold, computed from small lexicons of our own."""

from __future__ import annotations

import math

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.rules.grammars import GrammarContext
from ppsehr_spark.domain.rules.name_edges import weigh_left, weigh_right
from ppsehr_spark.domain.rules.name_found import rate
from ppsehr_spark.domain.rules.name_model import NameModel
from ppsehr_spark.domain.rules.terms import TermRegistry
from ppsehr_spark.domain.taxonomy import load_categories

SMALL = {
    "lexicons/surnames.tsv": "王\tcommon\n高\tcommon\n种\trare\n欧阳\tcompound\n",
    "lexicons/given_characters.tsv": "明\t100\t100\t200\n芳\t50\t80\t90\n",
    "lexicons/ordinary_words.tsv": "9\t王 高 明 芳\n8\t高明\n7\t明天\n",
    "lexicons/surname_words.tsv": "高热\n",
    "lexicons/name_words.tsv": "高明\n",
}


@pytest.fixture(scope="module")
def model() -> NameModel:
    category = load_categories(read_conf_files())["NAME"]
    return NameModel(GrammarContext(category, SMALL, TermRegistry()), never_given=frozenset("的"))


def test_a_segmentation_takes_the_cheapest_words(model: NameModel) -> None:
    assert model.ordinary_from("高明天", 0, 3)[0] == 9 + 7  # 高 + 明天, not 高明 + an unknown 天
    assert model.ordinary_to("高明天", 0, 3)[3] == 9 + 7
    assert model.ordinary_from("高明", 0, 2) == [8, 9, 0]


def test_a_given_name_costs_what_its_characters_cost_by_place(model: NameModel) -> None:
    # every listed character has a floor of three, of which half a use and a little for the unlisted remain
    expected = 3.1 + 0.2 - math.log(47.65 / 10_000) - math.log(97.65 / 10_000)
    assert model.name_cost("王芳明", 0, 3) == pytest.approx(expected)
    assert model.name_cost("王的", 0, 2) >= 16
    assert model.name_cost("明芳", 0, 2) == math.inf


def test_a_word_that_is_often_a_name_costs_half_a_unit_less_as_one(model: NameModel) -> None:
    assert model.name_cost("高明", 0, 2) == pytest.approx(8 - 0.5)


def test_a_lone_surname_must_be_asked_for(model: NameModel) -> None:
    assert model.name_cost("欧阳", 0, 2) == math.inf
    assert model.name_cost("欧阳", 0, 2, allows_lone=True) < model.name_cost("种", 0, 1, allows_lone=True) + 8
    assert "高热" not in model.surnames and model.is_word("高热三天", 0)


def test_marks_weigh_more_than_acts_and_nothing_weighs_nothing() -> None:
    assert weigh_right("王芳,女,3岁", 2) > weigh_right("王芳查房", 2) > weigh_right("王芳树下", 2) == 0
    assert weigh_left("男,27岁,王芳", 6) > weigh_left("\n王芳", 1) > weigh_left("见王芳", 1) == 0


def test_even_odds_stay_below_acceptance_and_confidence_is_capped() -> None:
    assert rate(0, 2, 0.0, "x").confidence == pytest.approx(0.97 / 2)
    assert rate(0, 2, 99.0, "x", cap=0.8).confidence == pytest.approx(0.8)
    assert rate(0, 2, -999.0, "x").confidence < 1e-9
