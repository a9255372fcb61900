"""The model's part of evolve: replies within a budget, grounded proposals, prompts judged by the cascade. No Ray."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

import ray_actors.evolve_run as evolve_run
from ppsehr_spark.config import Settings, load_settings, settings_from_json
from ppsehr_spark.domain.knowledge.entries import CLAUSE, EXEMPLAR, RULE_KINDS, KnowledgeEntry
from ppsehr_spark.domain.knowledge.mistakes import ReviewedNote
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.prompting import Question
from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.knowledge_store import read_current, read_history
from ppsehr_spark.lake.tables import Lake
from ray_actors import evolver as evolver_module
from ray_actors.engine import EngineInfo, Prompt, Reply
from ray_actors.evolve_model import ModelDoor, open_model
from ray_actors.evolver import Evolver
from tests.ray_actors.doubtful import doubtful_reviewed, doubtful_settings

RULE = "瓜果蔬菜不是姓名"


class FakeQwen:
    """Proposes what it is told to, and calls a candidate a name unless the prompt has learned the sentence."""

    info = EngineInfo(engine="fake", model="qwen", fingerprint="1")

    def __init__(self, replies: Sequence[str] = (), *, fails: bool = False, cost: int = 50) -> None:
        self.replies, self.cost = list(replies), cost
        self.fails = fails
        self.seen: list[Prompt] = []

    def generate(self, prompts: Sequence[Prompt]) -> list[Reply]:
        self.seen += prompts
        return [self._answer(prompt) for prompt in prompts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    def close(self) -> None:
        self.seen.clear()

    def _answer(self, prompt: Prompt) -> Reply:
        if self.fails:
            return Reply(error_code="PROMPT_TOO_LONG")
        if prompt.choices:
            is_yes = RULE not in prompt.prefix or "冬瓜" not in prompt.body
            return Reply("", {"是": -0.1 if is_yes else -3.0, "否": -3.0 if is_yes else -0.1}, 10, 0, 1)
        text = self.replies.pop(0) if self.replies else '{"改动": [], "说明": ""}'
        return Reply(text, prompt_tokens=self.cost, output_tokens=20)


class InlinePool:
    """The pool's protocol without actors."""

    def __init__(self, worker: Evolver) -> None:
        self.worker, self.stop, self.about = worker, threading.Event(), worker.describe()
        self._done: list[tuple[Any, Any]] = []

    def submit(self, task: Any, method: str, *arguments: Any) -> None:
        self._done.append((task, getattr(self.worker, method)(*arguments)))

    def collect(self) -> Iterator[tuple[Any, Any]]:
        done, self._done = self._done, []
        yield from done


def make_settings(key_file: str, **evolve: Any) -> Settings:
    values = json.loads(load_settings("ci").to_json())
    kept = ("HOSPITAL", "NAME")
    values["files"] = {
        path: text
        for path, text in values["files"].items()
        if not path.startswith("categories/") or path.removeprefix("categories/").removesuffix(".toml") in kept
    }
    head, *slots = values["files"]["knowledge.toml"].split("\n[[slot]]\n")
    chosen = [slot for slot in slots if any(f'category = "{name}"' in slot for name in (*kept, "*"))]
    values["files"]["knowledge.toml"] = "\n[[slot]]\n".join([head, *chosen])
    values["evolve"] |= {"engine": "vllm", "token_budget": 100_000, **evolve}
    values["identity"]["key_file"] = key_file
    return settings_from_json(json.dumps(values))


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelDoor]:
    """Serve a fake engine to an Evolver and to evolve_run, with no Ray in between."""

    def start(settings: Settings, engine: FakeQwen, tokens: int = 100_000) -> ModelDoor:
        monkeypatch.setattr(evolver_module, "load_engine", lambda name, options: engine)
        door = ModelDoor(InlinePool(Evolver(settings.to_json())), tokens)

        @contextmanager
        def opened(_: Settings) -> Iterator[ModelDoor]:
            yield door

        monkeypatch.setattr(evolve_run, "open_model", opened)
        return door

    return start


class Bar:
    """A tqdm-like bar."""

    total = 0

    def update(self, n: int) -> None:
        self.total += 0 * n


HOMES = ("红星", "临江", "西山")


def hospital_notes() -> list[ReviewedNote]:
    notes = []
    for at, name in enumerate(HOMES):
        text = f"第{at}日由{name}疗养所转来。"
        start = text.index(name)
        notes.append(ReviewedNote(Note(f"n{at}", text), (Span(start, start + 5, "HOSPITAL"),)))
    return notes


def reply(*changes: tuple[str, str], clause: str = "") -> str:
    return json.dumps({"改动": [{"去处": a, "词": b} for a, b in changes], "说明": clause}, ensure_ascii=False)


def run(lake: Lake, settings: Settings, gold: Sequence[ReviewedNote]) -> Mapping[str, int | float]:
    return evolve_run.evolve_lake(lake, settings=settings, run_id="r1", gold=gold, progress=Bar())


def test_replies_keep_order_and_stay_within_the_limit(key_file: str, serve: Callable[..., ModelDoor]) -> None:
    settings = make_settings(key_file)
    door = serve(settings, FakeQwen(["一", "二"]))
    asked = [Question("前缀", f"问{i}", json_schema={"type": "object"}, max_tokens=30) for i in range(2)]
    assert door.propose(asked) == ["一", "二"] and door.tokens_left == 100_000 - 140
    door.tokens_left = 50
    assert door.propose(asked) == [None, None] and door.n_failed == 2 and door.tokens_left == 50


def test_an_engine_error_is_no_reply(key_file: str, serve: Callable[..., ModelDoor]) -> None:
    door = serve(make_settings(key_file), FakeQwen(fails=True))
    assert door.propose([Question("p", "b", max_tokens=5)]) == [None]


def test_a_call_that_dies_ends_the_run_without_text(key_file: str, serve: Callable[..., ModelDoor]) -> None:
    class Failed:
        code = "ACTOR_DIED"

    door = serve(make_settings(key_file), FakeQwen())
    door.pool.collect = lambda: iter([("propose", Failed())])
    with pytest.raises(InfrastructureError, match="MODEL_CALL_FAILED reason=ACTOR_DIED"):
        door.propose([Question("p", "红星疗养所", max_tokens=5)])


def test_a_grounded_term_of_the_model_wins_where_induction_has_nothing(
    lake: Lake, key_file: str, serve: Callable[..., ModelDoor]
) -> None:
    settings = make_settings(key_file)
    plan = settings.files["knowledge.toml"].replace('evidence = "tail"', 'evidence = "tail"\nmin_chars = 7', 1)
    blunt = settings_from_json(
        json.dumps({**json.loads(settings.to_json()), "files": {**settings.files, "knowledge.toml": plan}})
    )
    place = "医疗机构名称的结尾"
    serve(blunt, FakeQwen([reply((place, "疗养所"), (place, "温泉宫"))] * 8))
    counts = run(lake, blunt, hospital_notes())
    (entry,) = read_current(lake).entries
    assert (entry.text, entry.provenance.proposer) == ("疗养所", "qwen@1")
    assert counts["n_accepted"] == 1 and counts["n_ungrounded"] >= 1
    (row,) = read_history(lake)
    assert (row["engine"], row["model"]) == ("vllm", "qwen@1") and row["prompt_version"]


def test_what_both_propose_counts_as_induced(lake: Lake, key_file: str, serve: Callable[..., ModelDoor]) -> None:
    settings = make_settings(key_file)
    serve(settings, FakeQwen([reply(("医疗机构名称的结尾", "疗养所"))] * 8))
    run(lake, settings, hospital_notes())
    assert [e.provenance.proposer for e in read_current(lake).entries] == ["induction"]


def test_a_sentence_for_the_prompt_is_scored_by_the_whole_cascade(
    lake: Lake, key_file: str, serve: Callable[..., ModelDoor]
) -> None:
    settings = doubtful_settings(make_settings(key_file))
    engine = FakeQwen([reply(("判断的例子", "冬瓜"), clause=RULE)] * 4)
    serve(settings, engine)
    run(lake, settings, doubtful_reviewed())
    (row,) = read_history(lake)
    told = {t["kind"]: t["outcome"] for t in row["trials"] if t["kind"] not in RULE_KINDS}
    assert told[CLAUSE] == "ACCEPTED" and told[EXEMPLAR] in ("NO_GAIN", "ACCEPTED")
    assert CLAUSE in {entry.kind for entry in read_current(lake).entries}
    assert row["n_touched_notes"] == 0  # prompts change no rule


def test_prompts_beyond_the_budget_are_refused_and_said_so(
    lake: Lake, key_file: str, serve: Callable[..., ModelDoor]
) -> None:
    settings = doubtful_settings(make_settings(key_file))
    serve(settings, FakeQwen([reply(clause=RULE)] * 4, cost=2_450), tokens=2_500)
    run(lake, settings, doubtful_reviewed())
    (row,) = read_history(lake)
    assert {t["outcome"] for t in row["trials"] if t["kind"] == CLAUSE} == {"NOT_SCORED"}


def test_few_prompt_trials_reach_many_categories() -> None:
    entries = [KnowledgeEntry(CLAUSE, category, text) for category, text in (("A", "1"), ("A", "2"), ("B", "3"))]
    assert [entry.text for entry in evolve_run._take_turns(entries)] == ["1", "3", "2"]


def test_no_engine_opens_nothing(key_file: str) -> None:
    for changes in ({"engine": "none"}, {"engine": "rules"}, {"token_budget": 0}):
        with open_model(make_settings(key_file, **changes)) as model:
            assert model is None
