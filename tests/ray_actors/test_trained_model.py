"""Adapters on real Qwen: two steps through the whole rank, and a folder that holds adapters alone."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.training_plan import make_plan
from ray_actors.checkpoint_engine import load_engine
from ray_actors.engine import Prompt
from ray_actors.trained_model import fingerprint_base, load_checkpoint, make_model, read_executed
from ray_actors.training_data import pin_versions
from ray_actors.training_loop import TrainingOrder, run_rank
from ray_actors.workplace import Workplace
from tests.ray_actors.training_lake import note_rows, training_settings, write_notes

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.filterwarnings("ignore:Full backward hook")]
BASE = Path(__file__).resolve().parents[2] / ".cache" / "models" / "Qwen2.5-Coder-0.5B-Instruct"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of one rank on notes of eight tokens, without Ray."""
    if not (BASE / "config.json").is_file():
        pytest.fail(f"{BASE.name} is missing; scripts/fetch_model.py builds it", pytrace=False)
    base = tmp_path_factory.mktemp("adapters")
    lake = Lake(str(base / "lake"))
    write_notes(lake, note_rows(3, 1))
    settings = training_settings(
        base_model=str(BASE), lora_rank=2, n_steps=2, max_note_tokens=8, sampling_rate=0.7, holdout_share=0.0
    )
    plan = make_plan(settings.train, delta=1e-7, base_fingerprint=fingerprint_base(str(BASE)))
    order = TrainingOrder(settings.to_json(), lake.uri, plan.to_json(), pin_versions(lake), str(BASE))

    def keep(folder: Path | None, metrics: Mapping[str, int]) -> None:
        assert folder is not None and metrics == {"n_steps_done": 2}
        shutil.copytree(folder, base / "kept")

    run_rank(order.to_json(), Workplace(0, 1, "cpu", None, keep, lambda n: None))
    read_executed(base / "kept", plan=plan).require_plan(plan)
    return base / "kept"


def test_only_adapters_are_trained_and_stored(checkpoint: Path) -> None:
    import torch
    from safetensors.torch import load_file

    stored = load_file(checkpoint / "adapter_model.safetensors")
    assert stored and all("lora_" in name for name in stored)
    assert any(float(value.abs().max()) > 0 for name, value in stored.items() if "lora_B" in name)  # noise moved them
    assert sum(path.stat().st_size for path in checkpoint.iterdir()) < 40 * 2**20
    tuned = load_checkpoint(checkpoint, base_model=str(BASE)).model
    frozen = dict(make_model_weights())
    for name, value in tuned.named_parameters():
        if "lora_" not in name:
            assert torch.equal(value, frozen[name])


def make_model_weights() -> list[tuple[str, object]]:
    """The model of the same plan before its first step."""
    settings = training_settings(base_model=str(BASE), lora_rank=2)
    plan = make_plan(settings.train, delta=1e-7, base_fingerprint=fingerprint_base(str(BASE)))
    return list(make_model(plan, base_model=str(BASE)).model.named_parameters())


def test_it_writes_and_refuses_other_weights(checkpoint: Path) -> None:
    engine = load_engine({"path": str(checkpoint), "base_model": str(BASE)})
    (reply,) = engine.generate([Prompt("", "出院记录|神经内科|男|55岁|帕金森病", max_tokens=4)])
    assert reply.error_code == "" and 0 < reply.output_tokens <= 4
    with pytest.raises(ConfigurationError, match="MODEL_MISSING"):
        load_engine({"path": str(checkpoint), "base_model": str(checkpoint)})
    engine.close()
