"""Says in one line what kind of machine this is, such as "Intel Xeon, 2 cores, 24 GB, no GPU"."""

import os
import platform
import re
import subprocess
from pathlib import Path

GIB = 1 << 30


def machine() -> str:
    """Return processor, cores and memory this process may use, and its GPUs."""
    parts = [processor(), plural(cores(), "core")]
    if size := memory():
        parts.append(f"{round(size / GIB)} GB")
    return ", ".join([*parts, gpus()])


def processor() -> str:
    """Return the processor's model, without marks and clock rates."""
    name = ""
    if platform.system() == "Linux":
        match = re.search(r"^model name\s*:\s*(.+)$", text_of("/proc/cpuinfo"), re.MULTILINE)
        name = match[1] if match else ""
    elif platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            name = subprocess.run(command, capture_output=True, text=True, timeout=5).stdout
        except (OSError, subprocess.SubprocessError):
            name = ""
    return plain(name or platform.processor()) or platform.machine() or "unknown processor"


def plain(name: str) -> str:
    """Turn "Intel(R) Xeon(R) CPU @ 2.20GHz" into "Intel Xeon"."""
    name = re.sub(r"\((?:R|TM|C)\)|@.*$", " ", name, flags=re.IGNORECASE)
    name = re.sub(r"\b(?:CPU|Processor|\d+-Core)\b", " ", name, flags=re.IGNORECASE)
    return " ".join(name.split())


def cores() -> int:
    """Return the number of cores this process may use, by affinity and container limit."""
    available = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        available = len(os.sched_getaffinity(0))
    quota, _, period = text_of("/sys/fs/cgroup/cpu.max").strip().partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        available = min(available, max(1, round(int(quota) / int(period))))
    return available


def memory() -> int:
    """Return the bytes of memory there are, at most what the container allows; 0 if unknown."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0
    limit = text_of("/sys/fs/cgroup/memory.max").strip()
    return min(size, int(limit)) if limit.isdigit() else size


def gpus() -> str:
    """Return the GPUs that torch can use, or "no GPU"."""
    import torch

    if torch.cuda.is_available():
        found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        kinds = [f"{gpu.name} ({round(gpu.total_memory / GIB)} GB)" for gpu in found]
        counts = {kind: kinds.count(kind) for kind in kinds}
        return " + ".join(f"{n} x {kind}" if n > 1 else kind for kind, n in counts.items())
    return "Apple GPU" if torch.backends.mps.is_available() else "no GPU"


def plural(count: int, noun: str) -> str:
    """Return "1 core" or "2 cores"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def text_of(path: str) -> str:
    """Return a file's text, or "" if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
