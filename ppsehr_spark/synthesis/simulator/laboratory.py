"""Laboratory values that fit the condition: abnormal items move in the right direction, the rest stays in range.

Knows: items and reference ranges. Must not know: notes. No value here is a gold mention.
"""

from __future__ import annotations

from functools import cache

from ppsehr_spark.synthesis.simulator.conditions import Condition, LabItem
from ppsehr_spark.synthesis.simulator.dice import Dice

_PANELS = ("blood", "chem", "special")


@cache
def _find_abnormal(labs: tuple[str, ...]) -> dict[str, str]:
    """Item code -> direction (``+``, ``++``, ``-``, ``--``)."""
    return {lab.rstrip("+-"): lab[len(lab.rstrip("+-")) :] for lab in labs}


def draw_value(dice: Dice, item: LabItem, direction: str) -> float:
    """A value: inside the range, or beyond it by up to 60% (one sign) or 400% (two signs)."""
    width = item.high - item.low
    if direction.startswith("+"):
        return item.high + (0.05 + dice.uniform() * (4.0 if len(direction) > 1 else 0.6)) * max(width, item.high * 0.2)
    if direction.startswith("-"):
        return item.low * (1 - (0.35 if len(direction) > 1 else 0.04) - dice.uniform() * 0.25)
    return item.low + width * min(max(dice.normal(0.5, 0.17), 0.02), 0.98)


def write_value(dice: Dice, item: LabItem, direction: str) -> str:
    """The value with the item's decimals."""
    return f"{draw_value(dice, item, direction):.{item.decimals}f}"


def write_abnormal(dice: Dice, condition: Condition, items: tuple[LabItem, ...]) -> str:
    """One or two characteristic items with values: ``白细胞计数 13.20×10^9/L``."""
    abnormal = _find_abnormal(condition.labs)
    chosen = [item for item in items if item.code in abnormal]
    if len(chosen) < 2:
        chosen.append(items[dice.between(0, 15)])
    chosen = chosen[: dice.between(1, 2)]
    return "，".join(
        f"{i.name}{dice.pick(('', ' '))}{write_value(dice, i, abnormal.get(i.code, ''))}{i.unit}" for i in chosen
    )


def write_table(dice: Dice, condition: Condition, items: tuple[LabItem, ...]) -> str:
    """A report: one row per item with value, arrow, unit and reference range."""
    abnormal = _find_abnormal(condition.labs)
    panel = dice.pick(_PANELS[:2])
    rows = [i for i in items if (i.panel == panel and dice.chance(0.75)) or i.code in abnormal]
    return "\n".join(_write_row(dice, item, abnormal.get(item.code, "")) for item in rows)


def _write_row(dice: Dice, item: LabItem, direction: str) -> str:
    value = draw_value(dice, item, direction)
    arrow = "↑" if value > item.high else "↓" if value < item.low else ""
    low, high = f"{item.low:g}", f"{item.high:g}"
    return f"{item.name}({item.code})  {value:.{item.decimals}f} {arrow}  {item.unit}  {low}-{high}"
