"""Patients drawn from a record model in a process of their own, beside the start of the engine.

Knows: processes. Must not know: what a record model is, tables, Ray. The estimation brings numeric libraries whose
threads do not survive a fork and whose memory the engine needs; this process gives both back and ends by itself.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection

from ppsehr_spark.errors import InfrastructureError, PpsehrError
from ppsehr_spark.synthesis.records import (
    RecordDomain,
    ReleasedMarginal,
    SyntheticPatient,
    estimate,
    sample_patients,
)


class PatientDraw:
    """A draw under way."""

    def __init__(
        self, domain: RecordDomain, marginals: Sequence[ReleasedMarginal], *, n_patients: int, seed: int
    ) -> None:
        """Start the process; equal arguments give equal patients."""
        context = multiprocessing.get_context("spawn")
        self._replies, child = context.Pipe(duplex=False)
        work = (child, domain, tuple(marginals), n_patients, seed)
        self._process = context.Process(target=_draw, args=work, daemon=True)
        self._process.start()
        child.close()

    def result(self) -> tuple[SyntheticPatient, ...]:
        """Wait for the patients.

        Raises:
            PpsehrError: the process's own complaint; ``DRAW_DIED`` when it ended without a word.
        """
        try:
            answer = self._replies.recv()
        except EOFError:
            raise InfrastructureError("DRAW_DIED", hint="the machine may have run out of memory") from None
        finally:
            self._process.join()
        if isinstance(answer, PpsehrError):
            raise answer
        patients: tuple[SyntheticPatient, ...] = answer
        return patients


def _draw(
    replies: Connection, domain: RecordDomain, marginals: Sequence[ReleasedMarginal], n_patients: int, seed: int
) -> None:
    try:
        answer: object = sample_patients(estimate(domain, marginals), n_patients=n_patients, seed=seed)
    except PpsehrError as error:
        answer = error
    except Exception as error:
        answer = InfrastructureError("DRAW_FAILED", error=type(error).__name__)
    replies.send(answer)
