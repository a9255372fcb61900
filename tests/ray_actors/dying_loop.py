"""The training loop with a first rank that is killed once, in the middle of a step that no checkpoint holds yet."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path

from ray_actors import training_loop
from ray_actors.workplace import Workplace

#: Names the folder that remembers, for all attempts, which steps were done.
FOLDER_VARIABLE = "PPSEHR_TEST_DYING_LOOP"
DIES_AT = 3


def run_rank(order_json: str, workplace: Workplace) -> None:
    folder = Path(os.environ[FOLDER_VARIABLE])

    def tell(n_steps_done: int) -> None:
        with (folder / "steps").open("a", encoding="utf-8") as stream:
            stream.write(f"{n_steps_done}\n")
        if n_steps_done == DIES_AT and not (folder / "died").exists():
            _wait_for_checkpoint(folder)
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        workplace.tell_progress(n_steps_done)

    training_loop.run_rank(order_json, dataclasses.replace(workplace, tell_progress=tell))


def _wait_for_checkpoint(folder: Path) -> None:
    """Until Ray Train has written down the checkpoint of step 2; it looks at reports every few seconds."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any("checkpoint_2" in path.read_text(encoding="utf-8") for path in folder.rglob("checkpoint_manager_snap*")):
            return
        time.sleep(0.2)
