"""The catalogue of statistics, the plan made from it, and what a draw becomes."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence

import pytest

from ppsehr_spark.config import load_settings
from ppsehr_spark.errors import BudgetRefusedError, ConfigurationError, UsageError
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.answering import answer_together
from ppsehr_spark.privacy.catalogue import _FIELDS, CATALOGUE_FILE, Catalogue, Release, parse_catalogue
from ppsehr_spark.privacy.events import Exact, ZeroConcentrated
from ppsehr_spark.privacy.grants import Grant
from ppsehr_spark.privacy.ledger import Ledger
from ppsehr_spark.privacy.releases import (
    PlannedRelease,
    bound_noise,
    describe_definition,
    draw_part,
    make_rows,
    plan_releases,
)
from ppsehr_spark.privacy.units import Budget
from tests.privacy.small_ledger import make_ledger, make_query

LISTS: Mapping[str, tuple[str, ...]] = {"department": ("A", "B", "other"), "sex": ("M", "F"), "system": ("I", "II")}
PARENTS = {"department": {"A": "I", "B": "I", "other": "II"}}
SPAN_CELLS = ((("category", "NAME"), ("tier", "-")), (("category", "STD"), ("tier", "1")))
DELTA = 1e-6
TEXT = """
[budget]
epsilon = 1.5
[bounds]
max_encounters = 4
[display]
suppress_below_sd = 2.0
[[release]]
id = "patients"
title = "t"
kind = "count"
keys = ["department", "sex"]
max_cells = 2
share = 0.5
unit = "u"
[[release]]
id = "stays"
title = "t"
kind = "histogram"
measure = "days"
only = { sex = "F" }
edges = [0, 1, 4]
max_cells = 2
max_per_cell = 3
share = 0.2
unit = "u"
[[release]]
id = "middle"
title = "t"
kind = "quantile"
measure = "days"
grid = { first = 0, last = 10, step = 5 }
quantiles = ["1/4", "1/2"]
share = 0.2
unit = "u"
[[release]]
id = "marked"
title = "t"
kind = "spans"
max_cells = 8
share = 0.1
unit = "u"
"""
#: Kinds that came later.
MORE = """
[[release]]
id = "mean"
title = "t"
kind = "mean"
keys = ["sex"]
measure = "days"
clamp = { low = 0, high = 9 }
max_cells = 1
share = 1e-6
unit = "u"
[[release]]
id = "tree"
title = "t"
kind = "hierarchy"
levels = ["system", "department"]
share = 1e-6
unit = "u"
[[release]]
id = "table"
title = "t"
kind = "contingency"
keys = ["sex", "department"]
share = 1e-6
unit = "u"
[[release]]
id = "best"
title = "t"
kind = "top_k"
keys = ["department"]
k = 2
max_cells = 3
share = 1e-6
unit = "u"
[[release]]
id = "codes"
title = "t"
kind = "threshold"
key = "code"
form = "A99"
delta = 1e-9
max_cells = 2
share = 1e-6
unit = "u"
[[release]]
id = "months"
title = "t"
kind = "monthly"
window = { first = "2022-12", last = "2023-02" }
max_cells = 2
share = 1e-6
unit = "u"
[[release]]
id = "visits"
title = "t"
kind = "histogram"
measure = "visits"
edges = [1, 2]
max_cells = 1
share = 1e-6
unit = "u"
"""
WIDE = TEXT.replace("share = 0.5", "share = 0.4") + MORE


def _parse(text: str = TEXT) -> Catalogue:
    lists = {name: frozenset(values) for name, values in LISTS.items()}
    return parse_catalogue(
        {CATALOGUE_FILE: text},
        delta=DELTA,
        lists=lists,
        measures=frozenset({"days"}),
        patient_measures=frozenset({"visits"}),
        parents={"department": "system"},
        private_keys=frozenset({"code"}),
    )


def _plan(catalogue: Catalogue | None = None) -> dict[str, PlannedRelease]:
    planned = plan_releases(catalogue or _parse(), lists=LISTS, span_cells=SPAN_CELLS, parents=PARENTS)
    return {each.release.id: each for each in planned}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("epsilon = 1.5", "epsilon = inf"),
        ("epsilon = 1.5", "epsilon = 0.0"),
        ("epsilon = 1.5", "epsilon = 1.5\nsurprise = 1"),
        ("[display]\nsuppress_below_sd = 2.0", "[display]"),
        ("max_encounters = 4", "max_encounters = true"),
        ('kind = "count"', 'kind = "mean"'),
        ('id = "stays"', 'id = "patients"'),
        ("share = 0.5", "share = 0.6"),
        ("share = 0.5", "share = -0.5"),
        ('keys = ["department", "sex"]', 'keys = ["department", "diagnosis"]'),
        ('keys = ["department", "sex"]', 'keys = ["sex", "sex"]'),
        ("max_cells = 8", "max_cells = 0"),
        ("max_cells = 8", "max_cells = 1.5"),
        ("max_cells = 8", 'max_cells = 8\nkeys = ["sex"]'),
        ('only = { sex = "F" }', 'only = { sex = "X" }'),
        ("edges = [0, 1, 4]", "edges = [0, 4, 1]"),
        ("edges = [0, 1, 4]", "edges = [0, 0.5]"),
        ("max_per_cell = 3", "max_encounters = 5"),
        ('measure = "days"\ngrid', 'measure = "age"\ngrid'),
        ("step = 5 }", "step = 0 }"),
        ("last = 10", "last = 4"),
        ('quantiles = ["1/4", "1/2"]', 'quantiles = ["1/4", "2/2"]'),
        ('quantiles = ["1/4", "1/2"]', "quantiles = []"),
        ('quantiles = ["1/4", "1/2"]', 'quantiles = ["1/4", "2/8"]'),
        ('quantiles = ["1/4", "1/2"]', "quantiles = [0.5]"),
        ("low = 0, high = 9", "low = 9, high = 9"),
        ("low = 0, high = 9", "low = 0, high = 9.5"),
        ('measure = "days"\nclamp', 'measure = "visits"\nclamp'),
        ('levels = ["system", "department"]', 'levels = ["department", "system"]'),
        ('levels = ["system", "department"]', 'levels = ["department"]'),
        ('keys = ["sex", "department"]', 'keys = ["sex"]'),
        ("k = 2", "k = 0"),
        ('form = "A99"', 'form = "AAAAAAAAAA"'),
        ('key = "code"', 'key = "name"'),
        ("delta = 1e-9", "delta = 0"),
        ('last = "2023-02"', 'last = "2022-11"'),
        ('last = "2023-02"', 'last = "2023-13"'),
        ("edges = [1, 2]\nmax_cells = 1", "edges = [1, 2]\nmax_cells = 2"),
    ],
)
def test_a_catalogue_that_is_not_well_defined_is_refused(before: str, after: str) -> None:
    text = TEXT if before in TEXT else WIDE
    assert before in text and _parse(text)
    with pytest.raises(ConfigurationError, match="RELEASE_CATALOGUE"):
        _parse(text.replace(before, after, 1))


def test_every_kind_is_planned_with_its_cells_and_bounds() -> None:
    plan = _plan(_parse(WIDE))
    bounds = {name: (each.part.bounds.max_cells, each.part.bounds.max_per_cell) for name, each in plan.items()}
    assert bounds["mean"] == (2, 9) and plan["mean"].n_counted == 20
    assert bounds["tree"] == (3, 4) and [len(cell) for cell in plan["tree"].cells] == [0, 1, 1, 2, 2, 2]
    assert bounds["table"] == (4, 4) and len(plan["table"].cells) == 1 + 2 + 3 + 6
    assert bounds["best"] == (2, 1) and plan["best"].n_rows == 2, "nobody touches more of two than two"
    assert bounds["codes"] == (2, 1) and plan["codes"].n_rows is None
    assert [cell[0][1] for cell in plan["months"].cells] == ["2022-12", "2023-01", "2023-02"]
    assert bounds["visits"] == (1, 1) and plan["visits"].release.is_per_patient
    events = [each.part.event for each in plan.values()]
    assert compute_epsilon(events, delta=DELTA) <= 1.5, "what the threshold adds to delta is set aside"


def test_a_missing_or_unreadable_catalogue_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="CONF_MISSING"):
        parse_catalogue({}, delta=DELTA, lists={}, measures=frozenset())
    with pytest.raises(ConfigurationError, match="CONF_SYNTAX"):
        _parse("[budget")


def test_all_releases_together_cost_no_more_than_the_budget() -> None:
    events = [each.part.event for each in _plan().values()]
    spent = compute_epsilon(events, delta=DELTA)
    assert 1.5 * 0.999 < spent <= 1.5
    assert sum(each.rho for each in _plan().values()) == pytest.approx(
        sum(event.rho for event in events if isinstance(event, ZeroConcentrated))
    )


def test_cells_are_the_public_lists_in_order() -> None:
    plan = _plan()
    assert plan["patients"].cells[:3] == (
        (("department", "A"), ("sex", "M")),
        (("department", "A"), ("sex", "F")),
        (("department", "B"), ("sex", "M")),
    )
    assert [cell[0] for cell in plan["stays"].cells] == [("days", "0"), ("days", "1-3"), ("days", "4+")]
    assert [cell[0][1] for cell in plan["middle"].cells] == ["P25", "P50"]
    assert plan["middle"].n_counted == 3 and plan["marked"].cells == SPAN_CELLS


def test_bounds_scale_the_noise_as_stated() -> None:
    stays, marked = _plan()["stays"], _plan()["marked"]
    assert stays.part.bounds.l2_sensitivity == pytest.approx(3 * math.sqrt(2))
    assert stays.noise_sd == pytest.approx(3 * math.sqrt(2) / math.sqrt(2 * stays.rho))
    assert marked.part.bounds.max_cells == 2, "nobody touches more cells than there are"
    assert _plan()["middle"].part.bounds.max_per_cell == 4, "visits of a patient, over all candidates"


def test_the_question_changes_with_what_decides_the_answer_and_not_with_its_title() -> None:
    asked = {name: describe_definition(each) for name, each in _plan().items()}
    renamed = _plan(_parse(TEXT.replace('title = "t"', 'title = "新"').replace('unit = "u"', 'unit = "人"')))
    assert {name: describe_definition(each) for name, each in renamed.items()} == asked
    for before, after in (("max_cells = 8", "max_cells = 1"), ("max_encounters = 4", "max_encounters = 3")):
        changed = {name: describe_definition(each) for name, each in _plan(_parse(TEXT.replace(before, after))).items()}
        assert [name for name in asked if changed[name] != asked[name]] in (["marked"], ["stays", "middle"])
    more = plan_releases(_parse(), lists={**LISTS, "sex": ("M", "F", "other")}, span_cells=SPAN_CELLS)
    assert [each.release.id for each in more if describe_definition(each) != asked[each.release.id]] == ["patients"]


def test_the_shipped_catalogue_can_be_planned() -> None:
    plain = tomllib.loads(load_settings().files[CATALOGUE_FILE])
    assert {release["kind"] for release in plain["release"]} == set(_FIELDS)
    assert plain["budget"]["epsilon"] <= 3.0


# --- draws --------------------------------------------------------------------------------------------------------


def _grant(ledger: Ledger, planned: PlannedRelease) -> Grant:
    part = planned.part
    query = dataclasses.replace(make_query(part.name), event=part.event, bounds=part.bounds)
    grant = ledger.reserve(query)
    assert isinstance(grant, Grant)
    return grant


def _wide(n_cells: int) -> PlannedRelease:
    """A count over many cells, a tenth of the budget."""
    release = Release("wide", "t", "count", 0.1, "u", keys=("bed",), max_cells=2)
    catalogue = dataclasses.replace(_parse(), releases=(release,))
    return plan_releases(catalogue, lists={"bed": tuple(map(str, range(n_cells)))}, span_cells=())[0]


def _assert_planned_noise(planned: PlannedRelease, draw: Callable[[PlannedRelease], Sequence[int]]) -> None:
    """Mean square of the noise over 2000 cells lies within a quarter of the claimed variance.

    By Chernoff's bound for chi-square, chance breaks this less often than exp(-26) + exp(-37) < 1e-11.
    """
    noise = draw(planned)
    assert planned.noise_sd is not None and len(noise) == 2000
    ratio = sum(z * z for z in noise) / len(noise) / planned.noise_sd**2
    assert 0.75 < ratio < 1.25, ratio


def test_noise_has_the_planned_scale_and_its_half_width_holds_95_percent(ledger: Ledger) -> None:
    planned = _wide(2000)
    drawn: list[int] = []

    def draw(planned: PlannedRelease) -> list[int]:
        drawn.extend(draw_part(planned.part, [50] * 2000, grant=_grant(ledger, planned)))
        return [value - 50 for value in drawn]

    _assert_planned_noise(planned, draw)
    inside = sum(row.low <= 50 <= row.high for row in make_rows(planned, planned.part, drawn) if row.low is not None)  # type: ignore[operator]
    # 1900 expected, sd 9.7: eight of them are less likely than 1e-14
    assert abs(inside - 1900) < 78


def test_noise_clipped_to_a_share_of_the_mean_is_caught(ledger: Ledger) -> None:
    def clip(planned: PlannedRelease) -> list[int]:
        drawn = draw_part(planned.part, [50] * 2000, grant=_grant(ledger, planned))
        return [max(-5, min(5, value - 50)) for value in drawn]

    with pytest.raises(AssertionError):
        _assert_planned_noise(_wide(2000), clip)


def test_noise_scaled_by_what_the_data_show_is_caught(ledger: Ledger) -> None:
    """Bounds 'measured' on counts that nobody shares say 1 cell where the plan says 2: too little noise."""

    def measure(planned: PlannedRelease) -> list[int]:
        seen = dataclasses.replace(planned.part.bounds, max_cells=1)
        part = dataclasses.replace(planned.part, bounds=seen)
        return draw_part(part, [0] * 2000, grant=_grant(ledger, dataclasses.replace(planned, part=part)))

    with pytest.raises(AssertionError):
        _assert_planned_noise(_wide(2000), measure)


@pytest.mark.parametrize("scale", [0.3, 1.0, 7.0, 33.3])
def test_the_half_width_is_the_smallest_that_holds_95_percent(scale: float) -> None:
    masses = {k: math.exp(-(k * k) / (2 * scale * scale)) for k in range(-600, 601)}
    total = sum(masses.values())
    width = bound_noise(scale)
    assert sum(m for k, m in masses.items() if abs(k) <= width) >= 0.95 * total
    assert width == 0 or sum(m for k, m in masses.items() if abs(k) < width) < 0.95 * total


def test_a_float_never_reaches_a_mechanism(ledger: Ledger) -> None:
    plan = _plan()
    with pytest.raises(UsageError, match="VALUE_TYPE"):
        draw_part(plan["stays"].part, [1, 2.0, 3], grant=_grant(ledger, plan["stays"]))  # type: ignore[list-item]
    with pytest.raises(UsageError, match="VALUE_TYPE"):
        draw_part(plan["middle"].part, [1, 2.0, 3], grant=_grant(ledger, plan["middle"]))  # type: ignore[list-item]


def test_an_infinite_budget_answers_exactly(open_ended: Ledger) -> None:
    plan = _plan(dataclasses.replace(_parse(), budget=Budget(math.inf, DELTA)))
    stays, middle = plan["stays"], plan["middle"]
    assert stays.part.event == Exact() and stays.noise_sd == 0
    rows = make_rows(stays, stays.part, draw_part(stays.part, [4, 0, 9], grant=_grant(open_ended, stays)))
    assert [(row.value, row.low, row.high, row.is_suppressed) for row in rows] == [
        (4.0, 4.0, 4.0, False),
        (0.0, 0.0, 0.0, False),
        (9.0, 9.0, 9.0, False),
    ]
    drawn = draw_part(middle.part, [1, 5, 2], grant=_grant(open_ended, middle))
    quarter, half = make_rows(middle, middle.part, drawn)
    assert (quarter.position, half.position) == (0, 1) and quarter.cell == (("quantile", "P25"),)
    assert {(row.value, row.low, row.high) for row in (quarter, half)} == {(5.0, None, None)}


def test_what_the_noise_drowns_is_marked(ledger: Ledger) -> None:
    stays = _plan()["stays"]
    assert stays.noise_sd is not None and stays.suppress_below == pytest.approx(2 * stays.noise_sd)
    edge = math.ceil(stays.suppress_below)
    rows = make_rows(stays, stays.part, [edge, edge - 1, -3])
    assert [row.is_suppressed for row in rows] == [False, True, True]


# --- answered together --------------------------------------------------------------------------------------------


def _never(*_: object) -> list[int]:
    raise AssertionError("data were read")


def test_a_refusal_reads_nothing_and_keeps_nothing() -> None:
    ledger = make_ledger(1.0)
    queries = [make_query("a", event=ZeroConcentrated(0.01)), make_query("b", event=ZeroConcentrated(5.0))]
    with pytest.raises(BudgetRefusedError, match="PRIVACY_BUDGET"):
        answer_together(ledger, queries, read=_never, draw=_never)
    assert [balance.epsilon_spent for balance in ledger.balances()] == [0.0]


def test_a_reading_that_fails_gives_the_reservations_back() -> None:
    ledger = make_ledger(2.0)

    def fail(_: object) -> list[int]:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        answer_together(ledger, [make_query("a"), make_query("b")], read=fail, draw=_never)
    assert [balance.n_events for balance in ledger.balances()] == [0]


def test_a_draw_that_fails_stays_spent_and_the_rest_is_given_back() -> None:
    ledger, planned = make_ledger(2.0), _plan()["stays"]
    queries = [make_query(name, event=planned.part.event, bounds=(2, 3)) for name in ("a", "b", "c")]

    def draw(grant: Grant, counts: list[int]) -> list[int]:
        drawn = draw_part(planned.part, counts, grant=grant)
        if grant.query.name == "b":
            raise OSError("disk")
        return drawn

    with pytest.raises(OSError, match="disk"):
        answer_together(ledger, queries, read=lambda _: [1, 2, 3], draw=draw)
    assert [balance.n_events for balance in ledger.balances()] == [2], "a is out, b was drawn, c was not"


def test_finished_questions_come_from_the_ledger_and_only_open_ones_are_read() -> None:
    ledger, planned = make_ledger(2.0), _plan()["stays"]
    queries = [make_query(name, event=planned.part.event, bounds=(2, 3)) for name in ("a", "b")]
    read: list[list[str]] = []

    def note(asked: Sequence[object]) -> list[int]:
        read.append([query.name for query in asked])  # type: ignore[attr-defined]
        return [1, 2, 3]

    def draw(grant: Grant, counts: list[int]) -> list[int]:
        return draw_part(planned.part, counts, grant=grant)

    first = answer_together(ledger, queries[:1], read=note, draw=draw)
    both = answer_together(ledger, queries, read=note, draw=draw)
    assert both[0] == first[0] and read == [["a"], ["b"]]
    assert answer_together(ledger, queries, read=_never, draw=_never) == both
