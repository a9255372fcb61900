"""One model that writes notes for synthetic visits, and the gates that each note passes before it leaves the process.

Knows: batches, token limits, which engine errors are worth another run. Must not know: Ray, tables, what makes a note
agree (``synthesis.narratives``). A plain class; ``ray_actors.cluster`` makes it an actor. A dropped reply ends here:
what leaves is its reason code and its figures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ppsehr_spark.config import settings_from_json
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.synthesis.narratives import (
    NarrativeBook,
    NarrativePrompt,
    compile_narratives,
    make_header_prompt,
    make_prompt,
    screen_reply,
)
from ppsehr_spark.synthesis.records import SyntheticEncounter, SyntheticPatient
from ray_actors.engine import Engine, Prompt, Reply, load_engine
from ray_actors.note_writers import TRAINED
from ray_actors.usage import FRAME_TOKENS, Usage

#: Engine errors that the same prompt would meet again: the note is dropped with that reason. Any other one leaves the
#: visit without a note, and the next run tries again.
PERMANENT_ERRORS = frozenset({"PROMPT_TOO_LONG"})


@dataclass
class SynthesisResult:
    """What became of the requests of one unit.

    Attributes:
        rows: for protected.synthetic_notes, without data set and run; ``text`` is null in dropped ones.
        failed: note id -> error code, where the engine gave no reply.
        open_ids: notes not asked for because the token limit was reached.
        usage: tokens spent.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    open_ids: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class NoteRequest:
    """A note that is wanted: its id, the visit and whose it is."""

    note_id: str
    encounter: SyntheticEncounter
    patient: SyntheticPatient


class Synthesizer:
    """Holds one loaded engine for as long as it lives."""

    def __init__(self, settings_json: str) -> None:
        """Load the engine that ``synthesize.engine`` names.

        Raises:
            ConfigurationError: settings, prompts or engine options are wrong.
            InfrastructureError: the engine does not start.
        """
        settings = settings_from_json(settings_json)
        self._wants = settings.synthesize
        self._book: NarrativeBook = compile_narratives(settings.files)
        self._rules: RuleEngine = compile_rules(settings.files)
        options = settings.engine.get(self._wants.engine, {})
        self._engine: Engine = load_engine(self._wants.engine, options)
        checkpoint_id = Path(str(options.get("path", ""))).name if self._wants.generator == TRAINED else ""
        self._writer = checkpoint_id or _name_model(self._engine)
        self._known_prefixes: set[str] = set()

    def describe(self) -> dict[str, str]:
        """Engine, model with fingerprint or checkpoint id, dtype and version of prompts and forms."""
        info = self._engine.info
        return {"engine": info.engine, "model": self._writer, "dtype": info.dtype, "prompt_version": self._book.version}

    def write_notes(self, requests: Sequence[NoteRequest], token_limit: int | None = None) -> SynthesisResult:
        """Write a note for every request, all in one call of the engine.

        Args:
            token_limit: what may be spent; of requests that might exceed it, the last ones are left open.

        Raises:
            Exception: whatever the engine raises when it fails as a whole; the caller retries or divides the unit.
        """
        make = make_header_prompt if self._wants.generator == TRAINED else make_prompt
        prompts = [make(self._book, request.encounter, request.patient) for request in requests]
        n_fitting = self._count_fitting(prompts, token_limit)
        result = SynthesisResult(open_ids=[request.note_id for request in requests[n_fitting:]])
        asked = list(zip(requests, prompts, strict=True))[:n_fitting]
        replies = self._engine.generate([self._to_prompt(request, prompt) for request, prompt in asked])
        self._known_prefixes.update(prompt.prefix for _, prompt in asked)
        for (request, prompt), reply in zip(asked, replies, strict=True):
            result.usage += Usage(reply.prompt_tokens, reply.cached_tokens, reply.output_tokens)
            if reply.error_code and reply.error_code not in PERMANENT_ERRORS:
                result.failed[request.note_id] = reply.error_code
            else:
                result.rows.append(self._row(request, prompt, reply))
        return result

    def close(self) -> None:
        """Free the engine; safe to call twice."""
        self._engine.close()

    def _to_prompt(self, request: NoteRequest, prompt: NarrativePrompt) -> Prompt:
        seed = int(hashlib.sha256(request.note_id.encode()).hexdigest()[:8], 16)
        return Prompt(
            prompt.prefix,
            prompt.body,
            max_tokens=self._wants.max_note_tokens,
            temperature=self._wants.temperature,
            seed=seed,
        )

    def _count_fitting(self, prompts: Sequence[NarrativePrompt], token_limit: int | None) -> int:
        """How many of the first prompts surely stay within the limit."""
        if token_limit is None or not prompts:
            return len(prompts)
        new = sorted({prompt.prefix for prompt in prompts} - self._known_prefixes)
        left = token_limit - sum(self._engine.count_tokens(new))
        for at, n_tokens in enumerate(self._engine.count_tokens([prompt.body for prompt in prompts])):
            left -= n_tokens + FRAME_TOKENS + self._wants.max_note_tokens
            if left < 0:
                return at
        return len(prompts)

    def _row(self, request: NoteRequest, prompt: NarrativePrompt, reply: Reply) -> dict[str, Any]:
        visit = request.encounter
        note = screen_reply(reply.text, visit, request.patient, prompt=prompt, book=self._book, rules=self._rules)
        return {
            "synthetic_note_id": request.note_id,
            "synthetic_encounter_id": visit.synthetic_encounter_id,
            "synthetic_patient_id": visit.synthetic_patient_id,
            "note_type": prompt.form.name,
            "text": note.text,
            "generator": self._wants.generator,
            "model": self.describe()["model"],
            "outcome": reply.error_code or note.outcome,
            "n_phi_spans": note.n_phi_spans,
            "n_checks": note.agreement.n_checks,
            "n_agreed": note.agreement.n_agreed,
            "prompt_tokens": reply.prompt_tokens,
            "output_tokens": reply.output_tokens,
        }


def _name_model(engine: Engine) -> str:
    info = engine.info
    return f"{info.model}@{info.fingerprint}" if info.fingerprint else info.model
