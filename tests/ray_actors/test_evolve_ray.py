"""The evolve job's model door on a real Ray with a scripted engine."""

from __future__ import annotations

import json

import pytest

from ppsehr_spark.config import load_settings, settings_from_json
from ppsehr_spark.domain.prompting import Question
from ppsehr_spark.errors import PpsehrError
from ray_actors.evolve_model import open_model

pytestmark = pytest.mark.ray


def _settings(**options: object):
    values = json.loads(load_settings("ci").to_json())
    values["evolve"]["engine"] = "fault"
    values["engine"]["fault"] = options
    return settings_from_json(json.dumps(values))


def test_questions_reach_the_actor_and_replies_come_back() -> None:
    with open_model(_settings()) as model:
        assert model is not None and model.about["model"] == "scripted@0"
        asked = [Question("前缀", f"问{i}", json_schema={"required": ["改动"]}, max_tokens=8) for i in range(3)]
        assert [json.loads(text or "") for text in model.propose(asked)] == [{"改动": []}] * 3
        assert model.tokens_left < 60_000


def test_an_engine_that_breaks_says_its_code_and_no_text() -> None:
    with pytest.raises(PpsehrError) as caught, open_model(_settings(fault="exception")) as model:
        assert model is not None
        model.propose([Question("前缀", "王伟", max_tokens=8)])
    assert "王伟" not in str(caught.value)
