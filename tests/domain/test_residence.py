"""Province and city as a desk writes them, and the public lists of places and wards."""

from __future__ import annotations

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.codelists import load_codelists
from ppsehr_spark.domain.protection.divisions import load_divisions
from ppsehr_spark.domain.residence import Residence, read_residence
from ppsehr_spark.errors import ConfigurationError

FILES = read_conf_files()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (("浙江省", "杭州市"), Residence("浙江省", "杭州市")),
        ((" 浙江", "杭州 "), Residence("浙江省", "杭州市")),
        (("", "宁波市"), Residence("浙江省", "宁波市")),
        (("北京", "海淀区"), Residence("北京市", "北京市")),
        (("吉林", ""), Residence("吉林省")),
        (("吉林", "吉林"), Residence("吉林省", "吉林市")),
        (("河南省", "杭州市"), Residence("河南省")),
        (("河南省", "济源市"), Residence("河南省", "济源市")),
        (("台湾省", ""), Residence("台湾省")),
        (("浙江省杭州市西湖区文三路1号", ""), Residence()),
        (("不详", "-"), Residence()),
    ],
)
def test_what_a_desk_writes(written: tuple[str, str], read: Residence) -> None:
    assert read_residence(*written) == read


def test_the_public_list_of_places_is_the_gazetteer() -> None:
    """So that whatever ``read_residence`` can say has its place in a release."""
    known = {d for divisions in load_divisions().by_name.values() for d in divisions}
    cities = {division.city: division.province for division in known if division.city}
    childless = {d.province for d in known if d.province not in cities.values()}
    assert load_codelists(FILES).cities == cities | {province: province for province in childless}


@pytest.mark.parametrize(
    ("file", "line", "hint"),
    [
        ("wards", "东楼病区\t没有的科\n", "departments.tsv"),
        ("wards", "眼科\t眼科\n", "name of a department"),
        ("wards", "眼科病区\t骨科\n", "once"),
        ("wards", "东楼病区\n", "2 columns"),
        ("cities", "浙江省\t河南省\n", "another province"),
        ("cities", "其他地区\t河南省\n", "all others"),
    ],
)
def test_a_wrong_line_of_a_list_is_refused(file: str, line: str, hint: str) -> None:
    path = f"codelists/{file}.tsv"
    with pytest.raises(ConfigurationError, match="CODE_LIST") as refused:
        load_codelists({**FILES, path: FILES[path] + line})
    assert hint in refused.value.hint and refused.value.fields["file"] == path
