"""How sexually transmitted diseases are named in a diagnosis; all of them confirmed, so tier 3."""

from __future__ import annotations

from ppsehr_spark.synthesis.simulator.draft import Fragment

_NAMES = {"syphilis": "早期梅毒", "gonorrhea": "淋病", "hiv": "艾滋病", "warts": "尖锐湿疣", "herpes": "生殖器疱疹",
          "urethritis": "非淋菌性尿道炎"}  # fmt: skip


def write_diagnosis(setting: str) -> Fragment | None:
    """The diagnosis of a venereal setting, ``None`` for every other setting."""
    name = _NAMES.get(setting)
    if name is None:
        return None
    return Fragment(name, ((0, len(name), "STD", 3),), frozenset({"std_present"}))
