"""The doctor: every check says ok, warn or FAIL for the right reason, with a remedy; exit code 0 or 3."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from ppsehr_spark.config import load_settings
from ppsehr_spark.service import doctor, install_checks, machine_checks
from ppsehr_spark.service.diagnosis import Finding, Verdict, is_healthy, render_findings

MEMINFO = "MemTotal: 33554432 kB\nMemAvailable: {kib} kB\n"


def test_this_machine_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    """Set-up has run before tests, so nothing may FAIL here for the profile without a model."""
    assert doctor.main(["--profile", "ci", "--json"]) == 0
    findings = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert findings["jars"]["verdict"] == "ok"
    assert findings["packages"]["verdict"] == "ok"
    assert findings["java"]["detail"].startswith("17")
    assert findings["model"]["detail"] == "engine rules needs none"


def test_failing_check_gives_exit_code_3_and_a_remedy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = doctor.main(["--set", f'engine.vllm.model="{tmp_path}"'])
    shown = capsys.readouterr().out
    assert code == 3
    assert "FAIL  model" in shown
    assert "-> make setup" in shown


def test_wrong_conf_is_a_finding_not_a_crash(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--profile", "nowhere"]) == 3
    assert "UNKNOWN_PROFILE" in capsys.readouterr().out


@pytest.mark.parametrize(("gib", "verdict"), [(20, Verdict.OK), (8, Verdict.WARN), (2, Verdict.FAIL)])
def test_memory(tmp_path: Path, gib: int, verdict: Verdict) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO.format(kib=gib << 20), encoding="utf-8")
    assert machine_checks.check_memory(tmp_path, tmp_path / "none").verdict is verdict


def test_memory_is_what_the_container_allows(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO.format(kib=20 << 20), encoding="utf-8")
    (tmp_path / "memory.max").write_text(str(4 << 30), encoding="utf-8")
    (tmp_path / "memory.current").write_text(str(1 << 30), encoding="utf-8")
    assert machine_checks.check_memory(tmp_path, tmp_path).detail == "3.0 GiB available"


@pytest.mark.parametrize(
    ("flags", "detail"),
    [
        ("fpu avx2 avx512f avx512_bf16", "avx512_bf16, avx512f; dtype=bfloat16"),
        ("fpu avx2 amx_bf16", "amx_bf16; dtype=bfloat16"),
        ("fpu avx2 avx512f", "avx512f; dtype=float32"),
        ("fpu avx2", "avx2; dtype=float32"),
        ("fpu", "no avx2"),
    ],
)
def test_number_format_follows_the_cpu(tmp_path: Path, flags: str, detail: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n", encoding="utf-8")
    assert machine_checks.check_cpu(tmp_path).detail == detail


def test_a_taken_port_is_a_warning() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finding = machine_checks.check_ports({port: "API"})
    assert finding.verdict is Verdict.WARN
    assert f"{port} (API)" in finding.detail


def test_packages_that_differ_from_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("pytest==0.0.1 \\\n    --hash=sha256:00\nno-such-thing==1.0\n", encoding="utf-8")
    finding = install_checks.check_packages(lock)
    assert finding.verdict is Verdict.FAIL
    assert "2 differ" in finding.detail
    assert "no-such-thing missing" in finding.detail


def test_altered_and_unpinned_jars(tmp_path: Path) -> None:
    pins = tmp_path / "pins"
    pins.write_text(f"{'0' * 64}  a.jar\n", encoding="utf-8")
    (tmp_path / "a.jar").write_bytes(b"altered")
    assert install_checks.check_jars(tmp_path, pins).verdict is Verdict.FAIL
    pins.write_text("", encoding="utf-8")
    assert install_checks.check_jars(tmp_path, pins).verdict is Verdict.WARN


def test_key_that_others_can_read(tmp_path: Path) -> None:
    key = tmp_path / "identity.key"
    assert install_checks.check_identity_key(key).verdict is Verdict.OK
    key.write_text("00", encoding="ascii")
    key.chmod(0o644)
    finding = install_checks.check_identity_key(key)
    assert (finding.verdict, finding.mend) == (Verdict.FAIL, f"chmod 600 {key}")
    key.chmod(0o600)
    assert install_checks.check_identity_key(key).verdict is Verdict.OK


def test_other_python_for_workers() -> None:
    assert install_checks.check_environment({}).verdict is Verdict.WARN
    wrong = {"PYSPARK_PYTHON": "/usr/bin/python3", "SPARK_HOME": "/nowhere"}
    assert install_checks.check_environment(wrong).verdict is Verdict.FAIL


def test_endpoint_that_listens_and_one_that_does_not() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        overrides = ["annotate.engine=openai", f'engine.openai.base_url="http://127.0.0.1:{port}/v1"']
        settings = load_settings("ci", overrides)
        assert install_checks.check_model(settings).verdict is Verdict.OK
    assert install_checks.check_model(settings).verdict is Verdict.FAIL


def test_report_is_aligned_and_healthy_only_without_fail() -> None:
    findings = [Finding("a", Verdict.OK, "fine"), Finding("long name", Verdict.WARN, "slow", "buy")]
    assert render_findings(findings) == "ok    a          fine\nwarn  long name  slow\n                 -> buy"
    assert is_healthy(findings)
    assert not is_healthy([*findings, Finding("b", Verdict.FAIL, "gone", "make")])
