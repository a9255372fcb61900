"""Planted canaries: marker strings that occur nowhere else, for leak searches in logs, tables and releases.

Knows: which patients carry them. PHI canaries must not survive protection; prose canaries are clear note text and may
appear in protected notes, but never in a log, an exception or a metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class CanaryPatient:
    """A fixed person planted at one patient index, whatever the seed."""

    index: int
    sex: str
    birth_date: date
    name: str
    id_number: str
    phone: str
    address: str
    prose: str


CANARY_PATIENTS = (
    CanaryPatient(
        2, "F", date(1951, 3, 14), "钭璧珩", "330106195103147420", "19907351846",
        "浙江省杭州市西湖区琉璃蝉鸣巷417号9栋2单元1603室", "患者平日喜饲养蓝羽鹦鹉琥珀丸",
    ),
    CanaryPatient(
        5, "M", date(1947, 11, 2), "亓镕璟", "510105194711028639", "19806492375",
        "四川省成都市青羊区鹭羽听松路583号7栋1单元902室", "患者自述每晨必诵琅嬛古谱三遍",
    ),
    CanaryPatient(
        11, "M", date(1968, 7, 29), "郄骢黻", "420106196807293916", "19702584613",
        "湖北省武汉市武昌区翡月回澜街296号3栋4单元1201室", "患者随身携带旧铜哨碧霄号",
    ),
    CanaryPatient(
        17, "F", date(1956, 1, 21), "仉翾翎", "610113195601214260", "19603817259",
        "陕西省西安市雁塔区玄圃藏鸥里75号12栋3单元504室", "患者退休后痴迷收集霁蓝釉纽扣",
    ),
)  # fmt: skip

_BY_INDEX = {canary.index: canary for canary in CANARY_PATIENTS}

#: Name, identity number, phone and address of every canary patient.
PHI_CANARIES = tuple(text for c in CANARY_PATIENTS for text in (c.name, c.id_number, c.phone, c.address))
#: Sentences of clear note text.
PROSE_CANARIES = tuple(c.prose for c in CANARY_PATIENTS)
#: Everything that must never be seen outside tables and sources.
CANARIES = PHI_CANARIES + PROSE_CANARIES


def find_canary(index: int) -> CanaryPatient | None:
    """The canary planted at this patient index, if any."""
    return _BY_INDEX.get(index)
