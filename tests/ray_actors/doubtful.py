"""Notes in which the rules doubt a word, and settings of one small category that asks the model about it."""

from __future__ import annotations

import json

from ppsehr_spark.config import Settings, settings_from_json
from ppsehr_spark.domain.knowledge.mistakes import ReviewedNote
from ppsehr_spark.domain.notes import Note, Span

#: 冬瓜 or 王伟 before 某: 0.6 counts without a model and lies in the doubt band.
CATEGORY = """
id = "NAME"
name = "姓名"
is_direct_identifier = true
accept_at = 0.5
doubt_from = 0.35
doubt_to = 0.7

[prompt]
definition = "人的姓名"
examples_yes = ["患者张伟"]
examples_no = ["高热"]

[[pattern]]
id = "some"
regex = '冬瓜|王伟'
confidence = 0.6
"""
PLAN = """
[[slot]]
name = "姓名后面的称谓"
category = "NAME"
mistake = "false"
evidence = "after"
into = "lexicons/eponyms.tsv"
min_chars = 7
"""


def doubtful_settings(settings: Settings) -> Settings:
    """The settings with nothing but that category."""
    files = {path: text for path, text in settings.files.items() if not path.startswith("categories/")}
    values = json.loads(settings.to_json())
    values["files"] = {**files, "categories/NAME.toml": CATEGORY, "knowledge.toml": PLAN}
    return settings_from_json(json.dumps(values))


def doubtful_reviewed() -> list[ReviewedNote]:
    """Four notes about a melon, one about a man; only the man is a name."""
    melons = [ReviewedNote(Note(f"d{i}", f"第{i}天，嘱以冬瓜煮水。"), ()) for i in range(4)]
    return [*melons, ReviewedNote(Note("m", "王伟"), (Span(0, 2, "NAME"),))]
