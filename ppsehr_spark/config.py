"""conf/ + profile + ``--set`` become one frozen, hashed Settings.

Knows: where conf lies (``PPSEHR_CONF``, the checkout, or the wheel's own copy) and the type of every key.
Must not know: Spark masters, memory or JVM options; those live in ``spark-defaults.conf`` and
``conf/spark/<profile>.conf`` alone, and a profile that names one is an error.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ppsehr_spark.errors import ConfigurationError

_FORBIDDEN_WORDS = ("master", "memory", "jars", "java_options", "jvm")


@dataclass(frozen=True)
class IdentitySettings:
    """Keyed identity: where the HMAC key is read, inside each process that needs it."""

    key_file: str = ".state/identity.key"


@dataclass(frozen=True)
class SimulateSettings:
    """The simulator; ``recurrence`` is the share of sentences that are copied forward or templated.

    ``n_record_patients`` come after the ``n_patients`` with notes and leave none.
    """

    n_patients: int = 120
    n_record_patients: int = 0
    seed: int = 20240601
    recurrence: float = 0.5
    first_year: int = 2019
    last_year: int = 2023
    n_bad_rows: int = 12
    n_partitions: int = 4


@dataclass(frozen=True)
class IngestSettings:
    """Source mapping name (``conf/sources/<name>.toml``) and the limits beyond which a row is rejected."""

    source: str = "simulated"
    max_note_chars: int = 300_000
    max_reject_share: float = 0.2
    max_deleted_share: float = 0.1


@dataclass(frozen=True)
class PartitionSettings:
    """Tagger beside the rules, what Qwen sees (``doubtful``, ``all``, ``none``), and how text is cut and grouped.

    Lengths are characters, ``unit_tokens`` tokens.
    """

    tagger: str = "crf"
    qwen_scope: str = "doubtful"
    max_segment_chars: int = 360
    overlap_chars: int = 40
    context_chars: int = 40
    unit_tokens: int = 2_000


@dataclass(frozen=True)
class AnnotateSettings:
    """Engine, token budget per run (prompt and output, cached prefix excluded), the actor pool and its leases (s)."""

    engine: str = "vllm"
    token_budget: int = 8_000
    n_actors: int = 1
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0
    units_per_commit: int = 8
    window_tokens: int = 16_000
    max_attempts: int = 2
    lease_s: float = 120.0
    max_clock_skew_s: float = 30.0
    drain_s: float = 60.0
    batch_prompts: int = 16
    judge_accept_logit: float = 0.0
    unit_timeout_s: float = 1_800.0


@dataclass(frozen=True)
class ProtectSettings:
    """Policy name in ``conf/protection.toml``."""

    policy: str = "research"


@dataclass(frozen=True)
class PrivacySettings:
    """``dataset`` names the source in the privacy ledger; caps of ``conf/privacy.toml`` may refer to it."""

    dataset: str = "lake"
    reviewer: str = ""


@dataclass(frozen=True)
class TrainSettings:
    """DP-SGD on patients; ``base_model`` empty trains a small Qwen2 from scratch, a folder tunes LoRA adapters on it.

    ``expected_patients`` is the public divisor of a step's gradient sum (a choice, never counted in the data).
    """

    base_model: str = ""
    n_workers: int = 2
    epsilon: float = 2.5
    sampling_rate: float = 0.1
    n_steps: int = 40
    clip_norm: float = 1.0
    learning_rate: float = 0.01
    expected_patients: int = 12
    max_notes_per_patient: int = 2
    max_note_tokens: int = 96
    holdout_share: float = 0.2
    lora_rank: int = 8
    hidden_size: int = 96
    n_layers: int = 2
    checkpoint_every_steps: int = 10
    physical_rows: int = 8
    gpus_per_worker: float = 0.0


@dataclass(frozen=True)
class SynthesizeSettings:
    """Synthetic patients and who writes their notes (``public`` weights or the ``trained`` checkpoint)."""

    n_patients: int = 12
    seed: int = 1
    generator: str = "public"
    engine: str = "vllm"
    token_budget: int = 12_000
    max_note_tokens: int = 80
    temperature: float = 0.7
    notes_per_unit: int = 16
    n_actors: int = 1
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0


@dataclass(frozen=True)
class EvolveSettings:
    """Who proposes knowledge beside induction (``none``: nobody), its token budget, and how much it is asked."""

    engine: str = "vllm"
    token_budget: int = 60_000
    max_clusters: int = 24
    max_prompt_trials: int = 4
    n_actors: int = 1
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0
    call_timeout_s: float = 1_800.0


@dataclass(frozen=True)
class PublishSettings:
    """Gates of a release: shares of notes still let through, and the bars for synthetic data."""

    max_open_share: float = 1.0
    max_note_leak_share: float = 1.0
    min_agreement: float = 0.8
    max_marginal_distance: float = 0.15
    max_membership_auc: float = 0.75


@dataclass(frozen=True)
class CostSettings:
    """The site's prices, in whatever currency it counts; all 0: no cost is stated."""

    prompt_per_million: float = 0.0
    output_per_million: float = 0.0
    gpu_hour: float = 0.0


@dataclass(frozen=True)
class LogSettings:
    """``format`` of the lines on stderr: ``text`` or ``json``; ``PPSEHR_LOG`` wins."""

    format: str = "text"


@dataclass(frozen=True)
class MetricsSettings:
    """``folder`` for metrics files of the last runs (JSON and Prometheus text); empty writes none."""

    folder: str = ""


@dataclass(frozen=True)
class MaintainSettings:
    """Compaction, purge, retention. Sizes are MiB, times hours, shares 0 to 1.

    ``retention_hours`` must exceed ``feed_lag_hours``; ``late_consumer`` says what a table does whose change feed
    somebody still has to read: ``keep`` its history, or ``refuse`` to run.
    """

    target_file_mib: int = 128
    min_small_files: int = 16
    max_deleted_share: float = 0.1
    retention_hours: int = 168
    feed_lag_hours: int = 48
    late_consumer: str = "keep"
    spill_hours: int = 24


@dataclass(frozen=True)
class Settings:
    """Everything a run may depend on. Two runs with one ``conf_hash`` treat equal input equally.

    Attributes:
        files: every conf file as text, keyed by path relative to ``conf/`` (see ``taxonomy.ConfFiles``).
        engine: options per engine name, passed to the engine as they are.
        conf_hash: SHA-256 (first 16 hex digits) over settings and files.
    """

    profile: str = "laptop"
    identity: IdentitySettings = IdentitySettings()
    simulate: SimulateSettings = SimulateSettings()
    ingest: IngestSettings = IngestSettings()
    partition: PartitionSettings = PartitionSettings()
    annotate: AnnotateSettings = AnnotateSettings()
    protect: ProtectSettings = ProtectSettings()
    privacy: PrivacySettings = PrivacySettings()
    train: TrainSettings = TrainSettings()
    synthesize: SynthesizeSettings = SynthesizeSettings()
    publish: PublishSettings = PublishSettings()
    evolve: EvolveSettings = EvolveSettings()
    cost: CostSettings = CostSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    maintain: MaintainSettings = MaintainSettings()
    engine: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def conf_hash(self) -> str:
        """SHA-256 (16 hex digits) of all values and file contents."""
        return hash_values(dataclasses.asdict(self))

    def partial_hash(self, sections: Sequence[str], file_prefixes: Sequence[str]) -> str:
        """Hash of the named settings sections and of the conf files whose path starts with one of the prefixes."""
        values = dataclasses.asdict(self)
        chosen = {path: text for path, text in self.files.items() if path.startswith(tuple(file_prefixes))}
        return hash_values({"sections": {name: values[name] for name in sections}, "files": chosen})

    def to_json(self) -> str:
        """One JSON text that ``settings_from_json`` turns back into equal Settings (for executors and actors)."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, sort_keys=True)


def hash_values(values: object) -> str:
    """SHA-256 over the canonical JSON of ``values``; first 16 hex digits."""
    text = json.dumps(values, ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_settings(profile: str = "laptop", overrides: Sequence[str] = (), conf: str | None = None) -> Settings:
    """Read ``pipeline.toml``, lay the profile over it, then each ``section.key=value`` of ``overrides``.

    Raises:
        ConfigurationError: a file is missing or not TOML, a key is unknown or has the wrong type, or a profile
            names what belongs to Spark's properties files.
    """
    files = read_conf_files(conf)
    path = f"profiles/{profile}.toml"
    if path not in files:
        known = sorted(p[9:-5] for p in files if p.startswith("profiles/"))
        raise ConfigurationError("UNKNOWN_PROFILE", profile=profile, hint=f"one of {', '.join(known)}")
    values = _parse("pipeline.toml", files.get("pipeline.toml", ""))
    overlay = _parse(path, files[path])
    _refuse_spark_keys(path, overlay)
    _merge(values, overlay)
    for item in overrides:
        _merge(values, _parse_override(item))
    settings: Settings = _build(Settings, {**values, "profile": profile, "files": files}, "conf")
    return settings


def settings_from_json(text: str) -> Settings:
    """Inverse of ``Settings.to_json``."""
    settings: Settings = _build(Settings, json.loads(text), "json")
    return settings


def read_conf_files(conf: str | None = None) -> dict[str, str]:
    """All text files below the conf folder, keyed by relative path.

    Order: ``conf`` argument, ``PPSEHR_CONF``, the checkout's ``conf/``, the copy inside the wheel (also when the
    wheel is a zip on an executor's path).
    """
    named = conf or os.environ.get("PPSEHR_CONF")
    beside = Path(__file__).resolve().parent.parent / "conf"
    if named and not Path(named).is_dir():
        raise ConfigurationError("CONF_FOLDER", hint="the conf folder that --conf or PPSEHR_CONF names is not there")
    root: Any = Path(named) if named else beside if beside.is_dir() else resources.files("ppsehr_spark") / "conf"
    found: dict[str, str] = {}
    _collect(root, "", found)
    return found


def _collect(folder: Any, prefix: str, found: dict[str, str]) -> None:
    for entry in sorted(folder.iterdir(), key=lambda e: str(e.name)):
        if entry.is_dir():
            _collect(entry, f"{prefix}{entry.name}/", found)
        elif entry.name.endswith((".toml", ".tsv", ".md")):
            found[f"{prefix}{entry.name}"] = entry.read_text(encoding="utf-8")


def _parse(path: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("NOT_TOML", file=path, hint=str(error)) from None


def _parse_override(item: str) -> dict[str, Any]:
    """``a.b=value`` as nested tables; the value is TOML, or a bare string."""
    name, separator, text = item.partition("=")
    if not separator or not name:
        raise ConfigurationError("OVERRIDE", key=name, hint="--set takes section.key=value")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for part in reversed(name.split(".")):
        value = {part: value}
    return typing.cast(dict[str, Any], value)


def _refuse_spark_keys(path: str, values: Mapping[str, Any], prefix: str = "") -> None:
    for key, value in values.items():
        if prefix in ("", "spark.") and (key == "spark" or any(key == word for word in _FORBIDDEN_WORDS)):
            hint = "master, memory, jars and JVM options belong to spark-defaults.conf and conf/spark/"
            raise ConfigurationError("SPARK_KEY_IN_PROFILE", file=path, key=f"{prefix}{key}", hint=hint)
        if isinstance(value, Mapping) and not prefix.startswith("engine"):
            _refuse_spark_keys(path, value, f"{prefix}{key}.")


def _merge(base: dict[str, Any], overlay: Mapping[str, Any]) -> None:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _build(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    """Instantiate the dataclass ``kind``, checking every key and type."""
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise ConfigurationError("UNKNOWN_KEY", key=f"{where}.{key}", hint=f"one of {', '.join(sorted(known))}")
        arguments[key] = _check(hints[key], value, f"{where}.{key}")
    return kind(**arguments)


def _check(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigurationError("WRONG_TYPE", key=where, hint="must be a table")
        return _build(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected = typing.get_origin(hint) or hint
    expected = tuple(hint.__args__) if isinstance(hint, types.UnionType) else expected
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ConfigurationError("WRONG_TYPE", key=where, hint=f"must be {getattr(expected, '__name__', expected)}")
    return value
