"""The grammar of care institutions: place, owner or brand, kind; and short forms by lexicon.

Knows: how a hospital's name is built and which words only stand before it. Must not know: other categories.
Reference: annotation guideline v1, row HOSPITAL and "Clarifications". Lists: ``lexicons/hospital_kinds.tsv``
(column 1 the closing word), ``lexicons/hospital_brands.tsv`` (column 2: sure or cue), ``lexicons/hospital_owners.tsv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.gazetteer import read_places
from ppsehr_spark.domain.rules.grammars import GrammarContext, register_grammar
from ppsehr_spark.domain.rules.terms import hits_between, is_covered, longest

_MAX_NAME = 28
_ANCHORS = ("HOSPITAL.place", "HOSPITAL.owner", "HOSPITAL.brand")
#: Short forms of divisions do not protect a function word inside them (于洪 in 于洪山乡卫生院).
_SHORT_KINDS = frozenset("pcda")
_STRETCH = re.compile(r"[\u4e00-\u9fff〇0-9]*$")
#: Words after which a name may begin; what follows the last of them is the name.
_STOP = re.compile(
    r"[0-9一二三四五六七八九十半数两余多几]+\s?余?(?:年|月|日|天|周|小时|时|分钟|分|岁|次|床|号|个月|个|"
    r"例|余年|家)[余多]?(?:前|后|内|间|起)?|"
    r"患者|病人|患儿|家属|家人|产妇|孕妇|就诊|急诊|门诊|住院|入院|出院|转院|收入|收治|转诊|转入|转至|转往|"
    r"转到|送至|送往|送到|送入|遂至|遂往|求治|求诊|治疗|手术|检查|复查|"
    r"复诊|会诊|体检|诊断|考虑|"
    r"曾经|曾|先后|遂|即|再次|再|多次|反复|辗转|前往|赴|往|至|到|在|于|从|由|经(?![开济纬])|去|及|或|并|"
    r"因|为|被|送|请|我|该|此|了|后(?![洲海街])|又|的|是|"
    r"有(?![色限])|示|外院|当日|当时|今日|今晨|昨日|昨晚|今|昨|现(?!代)|既往|平素|目前|自行|自(?![贡治])|"
    r"来自|来|首诊|初诊|120|急救车|"
    r"联系|接|对比|比较|参照|携带|复阅|阅|通知|委托|邀请|特邀|介绍|推荐|建议|要求|拟|想|向|与|以及|同意|"
    r"推|携|持|拿|依据|根据|据|按|经治|外|上述|服用|口服|予以|予|行|"
    r"做|查|诉|称|述|说|告知|转回|送回|回(?![龙族民春])|返回|回到|离开|出|入|转|等"
)
_GENERIC = re.compile(
    r"(?:当地|本地|外地|附近|就近|异地|省内|市内|省外|国内|国外|外省|外市|我市|本市|本省|本县|地方|省|市|"
    r"区|县|镇|乡|村|州|地区|乡镇|上级|下级|基层|各|大|小|多家|几家|"
    r"几个|两家|多个|某家|某|其他|其它|别的|别家|另一|另外|一家|一个|"
    r"原|同|综合|专科|三甲|三级|二级|一级|甲等|乙等|公立|私立|民营|个体|个人|私人|社区|街道|农村|城镇|"
    r"城市|人民|中心|中医|中西医|中西医结合|结合|妇幼|妇产|妇婴|儿童|小儿|"
    r"口腔|牙科|眼科|耳鼻喉|肿瘤|传染病|感染病|精神病|精神卫生|精神|脑科|"
    r"胸科|骨科|骨伤|肛肠|康复|老年病|老年|急救|急诊|结核病|结核|皮肤病|皮肤|职业病|疾病|预防控制|预防|"
    r"控制|慢性病|慢病|性病|男科|妇科|心血管病|心血管|肾病|肝病|糖尿病|风湿|"
    r"体检|健康|健康管理|部队|军队|军区|陆军|武警|职工|铁路|矿务局|教学|附属|附设|总|分|"
    r"医学院|医科大学|医科|大学|学院|校|学校|厂|方舱|定点|指定|合作|协作|互联网|民族|蒙医|藏医|监狱|公安|"
    r"戒毒|整形|美容|月子|养老|护理|专业|相关|正规|较大|更高级|高级|就诊|"
    r"首诊|接诊|转诊|第[一二三四五六七八九十〇0-9]+|[一二三四五六七八九十](?=附|$)|和|及|与|、)+"
)
_ORDINAL = re.compile(r"第[一二三四五六七八九十0-9]+")
_OWNER_WORDS = re.compile(
    r"大学|学院|解放军|武警|军区|军医|空军|海军|陆军|火箭军|集团|公司|附属|煤矿|矿务|油田|石油|铁路|电力|"
    r"局|总队|协会|红十字|基督|中国|中华|国家|首都|北方|南方|华北|华东|"
    r"华中|华南|西南|西北|东北"
)
_NOT_NAME = re.compile(
    r"获得性|医疗(?!中心)|药品|感染|护士|医生|医师|专家|主任|科室|考虑|要求|希望|喜欢|害怕|离|距|没有|没|"
    r"不|未|需|应|必|将|会|都|均|也|很|这|那|哪|什么|每|任何|许多|"
    r"很多|所有|全国|全市|全省|世界|信任|选择|附院内|车|坐|乘|救护|给|让|叫|但|且|若|则|只|仅|已|着|过|们|"
    r"她|他|它|您|你|吗|呢|吧|啊|否|非|症|炎|痛|疼|热|咳|吐|"
    r"泻|癌|瘤|伤|病情"
)
_AFTER_KIND = re.compile(
    r"获得|相关性|感染(?!科|病科|性疾病科|二科|一科)|内获|内感|焦虑|名称|等级|证明|级别|制剂|工作|规定|"
    r"制度|收费|要求|性肺炎|管理"
)
_EXTENSION = re.compile(
    r"[(（]?(?:[\u4e00-\u9fff]{1,5}?(?:院区|分院|分部|分中心|医疗区)|[东西南北新老](?:院区?|区)|本部|分院|"
    r"第[一二三四五]院区|门诊部|体检中心|急救中心|"
    r"急诊中心(?=就))[)）]?"
)
_LEFT_CUE = re.compile(r"(?:在|于|到|至|往|赴|去|从|由|经|回|返|转|送|来|外请|请|自|[,，。;；、:：(（ \n]|^)$")
_RIGHT_CUE = re.compile(
    r"[ ]?(?:[、,]|就诊|住院|手术|复查|复诊|会诊|治疗|检查|行|查|诊断|诊治|门诊|急诊|专家|随访|化疗|放疗|"
    r"做|予|给予|考虑|出院|确诊|住|看|建卡|产检|分娩|病理|CT|"
    r"MR|B超)"
)


#: What shows that a brand word is the head of a street, a village or a product.
_BRAND_OF_OTHER = re.compile(
    r"[东西南北中]?路|街|村|镇|乡|坝|大道|小区|社区|区|县|市|公司|药|牌|大学(?!.{0,8}医院)|学院|中学|小学|"
    r"桥|门|站|公园|寺|山|湖"
)
#: Function words that begin names of streets and towns as well; straight after a division they do.
_ALSO_IN_NAMES = frozenset("向回后现有经来从曾转外")
_BRANCH_GAP = re.compile(r"[\u4e00-\u9fff]{1,8}")
_DIGIT_BESIDE = re.compile(r"[0-9][0-9a-zA-Z%床室号.]|[.:/\- ][0-9]")


@register_grammar("institution")
class Institutions:
    """Compiled institution grammar."""

    def __init__(self, context: GrammarContext) -> None:
        self.category = context.category.id
        context.terms.add("HOSPITAL.kind", [row[0] for row in context.lexicon("lexicons/hospital_kinds.tsv")])
        context.terms.add("HOSPITAL.brand", {row[0]: row[1] for row in context.lexicon("lexicons/hospital_brands.tsv")})
        context.terms.add("HOSPITAL.owner", [row[0] for row in context.lexicon("lexicons/hospital_owners.tsv")])
        places = {name: kind for name, kind in read_places(context).items() if kind not in "w-"}
        context.terms.add("HOSPITAL.place", places)

    def find(self, text: NormalisedText, note: Note) -> Iterable[Span]:
        """Named institutions, then brand short forms."""
        kinds = longest(text.hits.get("HOSPITAL.kind", ()))
        floors = _find_floors(text.text, kinds)
        named = [span for hit, floor in zip(kinds, floors, strict=False) for span in self._read_kind(text, hit, floor)]
        yield from named
        named.sort(key=lambda n: n.start)
        starts = [n.start for n in named]
        for hit in longest(text.hits.get("HOSPITAL.brand", ())):
            start, end = text.origin(hit.start, hit.end)
            if not is_covered(starts, named, start, end):
                yield from self._read_brand(text, hit)

    def _read_kind(self, text: NormalisedText, hit: Hit, floor: int) -> Iterator[Span]:
        """The name that ends with ``hit``; ``floor`` is where the institution before it ended."""
        plain = text.text
        if _AFTER_KIND.match(plain, hit.end):
            return
        stretch = _STRETCH.search(plain, max(floor, hit.start - _MAX_NAME), hit.start)
        low = stretch.start() if stretch else hit.start
        start, confidence, rule = self._find_start(text, low, hit)
        if confidence > 0:
            yield text.span(
                start, self._extend(plain, hit.end), self.category, confidence=confidence, rule=f"HOSPITAL.{rule}"
            )

    def _find_start(self, text: NormalisedText, low: int, hit: Hit) -> tuple[int, float, str]:
        """Start, confidence (0: no name) and rule of the name that ends with the kind word ``hit``."""
        plain = text.text
        near = [
            h for name in _ANCHORS for h in hits_between(text.hits.get(name, ()), low, hit.end) if h.start < hit.start
        ]
        cut = self._find_cut(plain, low, hit.start, [h for h in near if h.value not in _SHORT_KINDS])
        anchored = [h for h in near if h.start >= cut and _is_anchor(h, cut, hit)]
        if not anchored:
            return self._rate_plain(plain, cut, hit)
        first = min(h.start for h in anchored)
        start = cut if _OWNER_WORDS.search(plain, cut, first) else first
        return start, 0.95, "named" if plain[start : hit.start] not in ("市", "省") else "plain"

    @staticmethod
    def _find_cut(text: str, low: int, end: int, shields: list[Hit]) -> int:
        """End of the last stop word in ``[low, end)`` that is not part of a known place or brand."""
        cut = low
        for stop in _STOP.finditer(text, low, end):
            is_inside = any(h.start <= stop.start() < h.end for h in shields)
            is_name_character = stop.group() in _ALSO_IN_NAMES and any(h.end == stop.start() for h in shields)
            if not is_inside and not is_name_character:
                cut = stop.end()
        return cut

    @staticmethod
    def _rate_plain(text: str, cut: int, hit: Hit) -> tuple[int, float, str]:
        """A name without known place or brand: what is left after generic words must be a name of its own."""
        name = text[cut : hit.start]
        own = _GENERIC.sub("", name)
        if name in ("某某", "XX", "××"):
            return cut, 0.6, "placeholder"
        if not own:
            return cut, 0.4 if _ORDINAL.search(name) else 0.0, "ordinal"
        if own.isdigit():
            return cut, 0.85 if len(own) == 3 and text[cut - 1 : cut] != "第" else 0.0, "number"
        if _NOT_NAME.search(own) or len(own) > 10 or "某" in own:
            return cut, 0.0, "plain"
        return cut, 0.8 if 2 <= len(own) <= 6 else 0.5, "plain"

    @staticmethod
    def _extend(text: str, end: int) -> int:
        match = _EXTENSION.match(text, end)
        if match is None or (match.group()[0] in "(（") != (match.group()[-1] in ")）"):
            return end
        return match.end()

    def _read_brand(self, text: NormalisedText, hit: Hit) -> Iterator[Span]:
        """A short form on its own (``转至华西``); a longer name over it is found by its kind word."""
        plain = text.text
        if _BRAND_OF_OTHER.match(plain, hit.end) or (
            hit.value == "cue" and _DIGIT_BESIDE.search(plain, max(0, hit.start - 1), hit.end + 1)
        ):
            return
        has_left = _LEFT_CUE.search(plain, max(0, hit.start - 2), hit.start) is not None
        right = _RIGHT_CUE.match(plain, hit.end)
        is_after_word = plain[hit.start - 1 : hit.start] not in ("", ",", "。", ";", "、", ":", "(", " ", "\n")
        has_right = right is not None and (right.group().strip() not in ("、", ",") or (has_left and is_after_word))
        base = 0.42 if hit.value == "sure" else 0.15
        confidence = base + (0.25 if hit.value == "sure" else 0.3) * (has_left + has_right)
        yield text.span(hit.start, hit.end, self.category, confidence=min(confidence, 0.97), rule="HOSPITAL.short_form")


def _is_anchor(place: Hit, cut: int, kind: Hit) -> bool:
    """Short forms may be chance neighbours (安乡 in 长安乡): they end before the kind word, counties begin it."""
    if place.value not in _SHORT_KINDS:
        return True
    return place.end <= kind.start and (place.start == cut or place.value in "pc")


def _find_floors(text: str, kinds: list[Hit]) -> list[int]:
    """Where the institution before each kind word ended; a branch named after its parent shares the parent's floor."""
    floors = [0]
    for before, hit in pairwise(kinds):
        gap = text[before.end : hit.start]
        is_branch = hit.value.endswith("院") and before.value.endswith("院") and _BRANCH_GAP.fullmatch(gap)
        floors.append(floors[-1] if is_branch and not _STOP.search(gap) else before.end)
    return floors
