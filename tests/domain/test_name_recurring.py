"""NAME that the note itself proves, full names that count by themselves, surnames alone beside titles and verbs.

Braces mark what a reader would mark; every person is fictional.
"""

from __future__ import annotations

import pytest

from tests.domain.found import find
from tests.domain.test_name_everyday import read_marked


@pytest.mark.parametrize(
    "marked",
    [
        # a word or a by-name beside a person once, and again elsewhere
        "邻居{朝霞}送来热粥。{朝霞}说夜里听见他喊痛。",
        "同学{晓燕}陪她来院，{晓燕}在外等候。",
        # a nickname and a doubled name at the start of clauses
        "{阿莲}今天没来，{阿莲}说明天到。",
        "{盼盼}退烧了，{盼盼}妈妈很高兴。",
        # full names between ordinary words, nothing announcing them
        "家里人一直等着，{周雅琴}回来后才肯吃药。",
        # a surname alone after any word before a title, and between a title and a verb
        "到药房找了一下午，听说{符}医生明天出诊。",
        "护士{邢}交代禁食6小时。",
        "医生{苏}要求复查血常规。",
    ],
)
def test_found(marked: str) -> None:
    text, places = read_marked(marked)
    assert find(text, "NAME") == [text[a:b] for a, b in places]


@pytest.mark.parametrize(
    "text",
    [
        "请下田村、上田村老人前往。",
        "超声医师提示子宫增大，超声所见如下，随车医师已签，随车护士在旁。",
        "医生高度怀疑肺栓塞，护士马上报告，医师常规消毒。",
        "常常咳嗽，常常夜间加重；渐渐消瘦，渐渐乏力。",
    ],
)
def test_not_found(text: str) -> None:
    assert find(text, "NAME") == []
