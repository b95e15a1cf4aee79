"""Devices, the precision that each computes fastest, and settings that only change speed."""

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pipeline.engine.settings import check
from pipeline.errors import DeviceError

AUTO = "auto"
DEVICES = (AUTO, "cpu", "cuda")
FLOAT32, BFLOAT16 = "float32", "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)

_CPU = Path("/proc/cpuinfo")
_GPUS = Path("/proc/driver/nvidia/gpus")  # one folder per GPU, named by its PCI address
_PCI = Path("/sys/bus/pci/devices")


@dataclass(frozen=True)
class Machine:
    """Settings that change how fast rows and boxes are computed, never their values."""

    device: str = AUTO
    batch_size: int | None = None  # rows or pictures per forward pass; None: chosen by device
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)  # for decoding pictures

    def __post_init__(self) -> None:
        size = 1 if self.batch_size is None else self.batch_size
        check("--batch-size", "1 or more", size, size > 0)
        check("--threads", "1 or more", self.threads, self.threads > 0)


def pick_device(name: str) -> str:
    """Return the device to use: "auto" is cuda if a GPU is available, else cpu.

    Raises DeviceError for a GPU that is not available.
    """
    import torch  # imported here: computing stages' keys must not load torch

    available = torch.cuda.is_available()
    if name.startswith("cuda") and not available:
        raise DeviceError(
            f"--device {name}: torch {torch.__version__} finds no GPU; use cpu or auto"
        )
    return ("cuda" if available else "cpu") if name == AUTO else name


@cache
def well_done(device: str) -> str:
    """Return the precision in which "auto", "cpu" or "cuda" computes fastest: the default.

    Determined without torch, because stages' keys contain it. GPUs get bfloat16 unless one of them
    is an NVIDIA GPU older than Ampere. CPUs get it if they have instructions for it (AVX-512 BF16,
    AMX, ARM's bf16); without them, torch computes bfloat16 more slowly than float32.
    """
    gpus = [] if device == "cpu" else _gpus()
    if device == "cuda" or gpus:
        return FLOAT32 if any(map(_before_ampere, gpus)) else BFLOAT16
    text = _CPU.read_text() if _CPU.exists() else ""
    # The first processor's line: "flags" on x86, "Features" on ARM.
    lines = (line for line in text.splitlines() if line.startswith(("flags", "Features")))
    names = set(next(lines, "").split())
    return BFLOAT16 if names & {"avx512_bf16", "amx_bf16", "bf16"} else FLOAT32


def _gpus() -> list[str]:
    """Return the PCI addresses of NVIDIA GPUs; empty if CUDA_VISIBLE_DEVICES hides all."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return [] if hidden or not _GPUS.is_dir() else sorted(gpu.name for gpu in _GPUS.iterdir())


def _before_ampere(address: str) -> bool:
    """Return True if a GPU is older than Ampere, judging by its PCI device number.

    Numbers rise with each generation, except that GA100 (Ampere) precedes the last Turing chips.
    """
    file = _PCI / address / "device"
    if not file.exists():
        return False
    number = int(file.read_text(), 16)
    return number < 0x2080 or 0x2100 <= number < 0x2200
