"""Checks of the machine: Java, memory, disk, CPU, ports.

Knows: Linux's /proc and cgroup files. Must not know: what is installed in ``.venv``.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ppsehr_spark.service.diagnosis import Finding, Verdict

_GIB = 1 << 30
#: A 1.5B in float32 with its cache takes about 8 GiB; Spark runs before or after it, never beside it.
_ENOUGH_MEMORY_GIB = 10.0
_LEAST_MEMORY_GIB = 6.0
_ENOUGH_DISK_GIB = 10.0
_LEAST_DISK_GIB = 3.0
_JAVA_MEND = "apt-get install openjdk-17-jre-headless, and put that java first on PATH"
#: Ports that people's doors use when nothing else is asked for.
_PORTS: Mapping[int, str] = {8000: "API", 8501: "console", 8265: "Ray dashboard"}


def check_java() -> Finding:
    """Spark 4.2 with Delta 4.4 is proven on Java 17."""
    java = shutil.which("java")
    if not java:
        return Finding("java", Verdict.FAIL, "not found", _JAVA_MEND)
    output = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)([^"]*)"', output)
    if not match or match.group(1) != "17":
        return Finding("java", Verdict.FAIL, f"version {match.group(1) if match else 'unknown'}", _JAVA_MEND)
    return Finding("java", Verdict.OK, f"17{match.group(2)}")


def check_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> Finding:
    """Available memory, or what the container allows, whichever is less."""
    fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", (proc / "meminfo").read_text(encoding="utf-8"), re.MULTILINE))
    available_gib = min(int(fields["MemAvailable"]) * 1024, _read_cgroup_limit(cgroup)) / _GIB
    detail = f"{available_gib:.1f} GiB available"
    mend = "close other programs, or take the smaller model: --set engine.vllm.model=<folder of the 0.5B>"
    if available_gib < _LEAST_MEMORY_GIB:
        return Finding("memory", Verdict.FAIL, detail, mend)
    if available_gib < _ENOUGH_MEMORY_GIB:
        return Finding("memory", Verdict.WARN, detail, mend)
    return Finding("memory", Verdict.OK, detail)


def check_disk(folder: Path) -> Finding:
    """Free space where the lake and the caches lie."""
    free_gib = shutil.disk_usage(folder).free / _GIB
    verdict = (
        Verdict.FAIL if free_gib < _LEAST_DISK_GIB else Verdict.WARN if free_gib < _ENOUGH_DISK_GIB else Verdict.OK
    )
    mend = "" if verdict is Verdict.OK else "make room; `make clean` drops caches"
    return Finding("disk", verdict, f"{free_gib:.1f} GiB free", mend)


def check_cpu(proc: Path = Path("/proc")) -> Finding:
    """CPU flags and the number format that follows from them."""
    match = re.search(r"^flags\s*:(.*)$", (proc / "cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    flags = set(match.group(1).split()) if match else set()
    if "avx2" not in flags:
        mend = (
            "vLLM on CPU needs AVX2: use --set annotate.engine=transformers, or an endpoint by annotate.engine=openai"
        )
        return Finding("cpu", Verdict.WARN, "no avx2", mend)
    fast = sorted(flags & {"avx512_bf16", "amx_bf16", "avx512f"}) or ["avx2"]
    return Finding("cpu", Verdict.OK, f"{', '.join(fast)}; dtype={recommend_dtype(flags)}")


def recommend_dtype(flags: set[str]) -> str:
    """``bfloat16`` only where the CPU computes in it; elsewhere it is ten times slower than ``float32``."""
    return "bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"


def check_ports(ports: Mapping[int, str] = _PORTS) -> Finding:
    """The loopback must let us listen (Spark, Ray), and the doors' usual ports should be free."""
    if not _can_listen(0):
        return Finding("ports", Verdict.FAIL, "cannot listen on 127.0.0.1", "allow loopback sockets for this account")
    taken = [f"{port} ({use})" for port, use in ports.items() if not _can_listen(port)]
    if taken:
        return Finding("ports", Verdict.WARN, f"in use: {', '.join(taken)}", "give that door another --port")
    return Finding("ports", Verdict.OK, f"free: {', '.join(map(str, ports))}")


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _read_cgroup_limit(cgroup: Path) -> float:
    """Bytes still free below the container's limit; infinite without one."""
    try:
        limit = (cgroup / "memory.max").read_text(encoding="utf-8").strip()
        used = (cgroup / "memory.current").read_text(encoding="utf-8").strip()
    except OSError:
        return float("inf")
    return float("inf") if limit == "max" else float(limit) - float(used)
