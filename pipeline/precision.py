"""Which precision a machine does well, found out without torch: stages' keys are made of it."""

import os
from functools import cache
from pathlib import Path

FLOAT32, BFLOAT16 = "float32", "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)
_CPU = Path("/proc/cpuinfo")
_GPUS = Path("/proc/driver/nvidia/gpus")  # a folder for each, named by its PCI address
_PCI = Path("/sys/bus/pci/devices")


@cache
def well_done(device: str) -> str:
    """The precision in which "auto", "cpu" or "cuda" computes fastest: the default.

    GPUs are taken to do bfloat16 unless one of them is NVIDIA's of before Ampere, CPUs if they have
    instructions for it (AVX-512 BF16, AMX, ARM's bf16). Without them torch computes it too, but
    slower than float32.
    """
    gpus = [] if device == "cpu" else _gpus()
    if device == "cuda" or gpus:
        return FLOAT32 if any(map(_before_ampere, gpus)) else BFLOAT16
    told = _CPU.read_text() if _CPU.exists() else ""
    # The first processor's line: "flags" on x86, "Features" on ARM.
    lines = (line for line in told.splitlines() if line.startswith(("flags", "Features")))
    names = set(next(lines, "").split())
    return BFLOAT16 if names & {"avx512_bf16", "amx_bf16", "bf16"} else FLOAT32


def _gpus() -> list[str]:
    """PCI addresses of NVIDIA's GPUs, none where all are hidden."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return [] if hidden or not _GPUS.is_dir() else sorted(gpu.name for gpu in _GPUS.iterdir())


def _before_ampere(address: str) -> bool:
    """By the PCI number: they rise from chip to chip, but GA100 came before the last Turings."""
    file = _PCI / address / "device"
    if not file.exists():
        return False
    number = int(file.read_text(), 16)
    return number < 0x2080 or 0x2100 <= number < 0x2200
