"""A certain name elsewhere in the note: every mention is found, ordinary words only beside a person."""

from __future__ import annotations

import pytest

from tests.domain.found import find


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("姓名：黎明  性别：男\n患者黎明及其妻子在场。", ["黎明", "黎明"]),
        ("姓名：黎明  性别：男\n护士到床旁，黎明诉心慌。", ["黎明", "黎明"]),
        ("姓名：黎明  性别：男\n昨夜未眠，黎明时分方入睡。", ["黎明"]),
        ("姓名：韦国栋  性别：男\n复查时韦国栋神志清。", ["韦国栋", "韦国栋"]),
    ],
)
def test_a_known_person_is_found_again(text: str, names: list[str]) -> None:
    assert find(text) == names
