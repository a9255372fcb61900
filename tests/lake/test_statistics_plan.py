"""The public lists of the shipped conf and the hierarchies over them."""

from __future__ import annotations

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.lake.statistics_plan import OF_PATIENTS, WITH_REST, load_public_lists, plan_files

FILES = read_conf_files()
LISTS = load_public_lists(FILES)


@pytest.mark.parametrize("name", sorted(LISTS.coarser))
def test_every_value_has_its_place_in_the_coarser_list(name: str) -> None:
    values, coarser = LISTS.values[name], LISTS.values[LISTS.coarser[name]]
    assert len(set(values)) == len(values) and len(set(coarser)) == len(coarser)
    assert set(LISTS.parents[name]) == set(values)
    assert set(LISTS.parents[name].values()) == set(coarser), "no coarser value is left without a cell"
    assert LISTS.parents[name][values[-1]] == coarser[-1], "what no list holds is other at every level"


@pytest.mark.parametrize("name", sorted(WITH_REST))
def test_a_row_of_known_coarser_value_stays_below_it(name: str) -> None:
    for value in LISTS.values[LISTS.coarser[name]]:
        assert LISTS.parents[name][value] == value


def test_the_shipped_catalogue_holds_the_hierarchies_that_were_asked_for() -> None:
    planned, _ = plan_files(FILES)
    assert {each.release.levels for each in planned if each.release.levels} == {
        ("department_group", "department"), ("chapter", "block", "icd_code"), ("region", "city"),
        ("department", "ward"),
    }  # fmt: skip
    assert 1 - 1e-9 < sum(each.release.share for each in planned) < 1 + 1e-9
    regions = next(each for each in planned if each.release.id == "patients_by_region")
    places = [dict(cell) for cell in regions.cells]
    assert {} in places and {"region": "浙江省"} in places and {"region": "浙江省", "city": "杭州市"} in places
    assert {"region": "浙江省", "city": "浙江省"} in places, "people of the province whose city is unknown"
    assert len(regions.cells) == 1 + len(LISTS.values["region"]) + len(LISTS.values["city"])
    assert set(regions.release.levels) <= OF_PATIENTS


def test_conf_of_before_without_places_and_wards_still_plans() -> None:
    older = {path: text for path, text in FILES.items() if path not in ("codelists/wards.tsv", "codelists/cities.tsv")}
    lists = load_public_lists(older)
    assert lists.values["region"] == lists.values["city"] == ("其他地区",)
    assert set(lists.values["ward"]) == set(lists.values["department"])
    assert plan_files(older)[0]
