"""Places of facts within public lists, without Spark: the same as the code lists tell one by one."""

from __future__ import annotations

import pyarrow as pa

from ppsehr_spark.config import load_settings
from ppsehr_spark.domain.codelists import load_codelists
from ppsehr_spark.lake.statistics_plan import load_public_lists
from ppsehr_spark.privacy.catalogue import CONTINGENCY, COUNT, MEAN, THRESHOLD, Release
from ppsehr_spark.privacy.key_forms import encode_key
from ppsehr_spark.spark.statistics.bounded_sums import NO_CELL
from ppsehr_spark.spark.statistics.cells import CellFinder, facts_of

FILES = load_settings().files
LISTS = load_public_lists(FILES)


def make_release(kind: str = COUNT, **fields: object) -> Release:
    return Release("r", "t", kind, 0.2, "u", max_cells=1, **fields)  # type: ignore[arg-type]


def find(release: Release, **facts: list[object]) -> list[int]:
    assert set(facts) - {"mark"} == facts_of(release) - {"mark"}
    columns = {
        name: pa.chunked_array([pa.array(values[:2]), pa.array(values[2:], pa.array(values).type)])
        for name, values in facts.items()
    }
    (cells,) = CellFinder([release], LISTS).find(pa.table(columns))
    found: list[int] = cells.tolist()
    return found


def test_a_chapter_is_the_chapter_of_the_code_lists() -> None:
    codes = load_codelists(FILES)
    tried = [f"{letter}{number:02d}.1" for letter in "ABDEHKSTUVZ" for number in range(0, 100, 3)]
    tried += ["", "?", "A", "ZZZ", "病", *(chapter.last + ".9" for chapter in codes.chapters)]
    found = find(make_release(keys=("chapter",)), diagnosis=list(tried))
    assert [LISTS.values["chapter"][at] for at in found] == [codes.find_chapter(code) for code in tried]


def test_codes_and_blocks_fall_where_their_names_say_and_all_else_is_other() -> None:
    tried: list[object] = ["I21.900", "I2", "病21", None, "A0٣.1", *(block.last for block in LISTS.blocks)]
    blocks = [LISTS.values["block"][at] for at in find(make_release(keys=("block",)), diagnosis=tried)]
    assert blocks == ["I20-I25", *["其他"] * 4, *(block.code for block in LISTS.blocks)]
    codes = [LISTS.values["icd_code"][at] for at in find(make_release(keys=("icd_code",)), diagnosis=tried)]
    assert codes[0] == "I21" and codes[1:5] == ["其他"] * 4
    assert all(LISTS.parents["icd_code"][code] == block for code, block in zip(codes, blocks, strict=True))


def test_nulls_fall_last_into_lists_and_nowhere_into_windows_and_measures() -> None:
    departments, months = LISTS.values["department"], ("2024-01", "2024-02")
    release = make_release(CONTINGENCY, keys=("department", "month"), months=months)
    first, year = departments[0], 2024 * 12
    department = [first, None, "unlisted", first, first]
    found = find(release, department=department, months=[year + 1, year + 2, year + 1, year + 3, None])
    last = len(departments) - 1
    assert found == [0, last * 2 + 1, last * 2, NO_CELL, NO_CELL]
    mean = make_release(MEAN, keys=("sex",), measure="age_years", clamp=(20, 80), max_encounters=1, max_per_cell=1)
    assert find(mean, sex=["M", "F", "M", None], age_years=[19, 81, None, 50]) == [0, 61 + 60, NO_CELL, 2 * 61 + 30]


def test_part_of_a_list_and_keys_of_a_form() -> None:
    only = make_release(keys=("sex",), only={"department": LISTS.values["department"][1]})
    assert find(only, sex=["M", "F", "M"], department=[*LISTS.values["department"][:2], None]) == [NO_CELL, 1, NO_CELL]
    form = make_release(THRESHOLD, keys=("diagnosis_code",), form="A99.X99", delta=1e-9)
    found = find(form, diagnosis=["I21.900", "I21.9", None, "U07.X00"])
    assert found == [encode_key("A99.X99", "I21.900"), NO_CELL, NO_CELL, encode_key("A99.X99", "U07.X00")]


def test_a_mark_is_no_visit_and_a_visit_no_mark() -> None:
    (category, tier), *_ = ((cell[0][1], cell[1][1]) for cell in LISTS.span_cells)
    marks = [None, f"{category}\x1f{tier}", "UNLISTED\x1f-"]
    assert find(make_release("spans"), mark=marks) == [NO_CELL, 0, NO_CELL]
    assert find(make_release(keys=("sex",)), mark=marks, sex=["F", None, None]) == [1, NO_CELL, NO_CELL]
    assert find(make_release("histogram", measure="marked_kinds_per_patient", edges=(1, 2)), mark=marks) == [-1, 0, 0]
