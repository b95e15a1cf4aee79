"""The machine: its devices, the precision they do well, and what only decides how fast it goes."""

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
_GPUS = Path("/proc/driver/nvidia/gpus")  # a folder for each, named by its PCI address
_PCI = Path("/sys/bus/pci/devices")


@dataclass(frozen=True)
class Machine:
    """Settings that cannot change a row or a box, only how soon it is there."""

    device: str = AUTO
    batch_size: int | None = None  # rows, or pictures, a forward pass; None: what suits the device
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)  # that decode pictures

    def __post_init__(self) -> None:
        size = 1 if self.batch_size is None else self.batch_size
        check("--batch-size", "1 or more", size, size > 0)
        check("--threads", "1 or more", self.threads, self.threads > 0)


def pick_device(name: str) -> str:
    """The device for "auto" is a GPU where there is one. Raises DeviceError for a missing one."""
    import torch  # here: stages' keys are made without it

    available = torch.cuda.is_available()
    if name.startswith("cuda") and not available:
        raise DeviceError(
            f"--device {name}: torch {torch.__version__} finds no GPU; use cpu or auto"
        )
    return ("cuda" if available else "cpu") if name == AUTO else name


@cache
def well_done(device: str) -> str:
    """The precision in which "auto", "cpu" or "cuda" computes fastest: the default.

    Found without torch, as stages' keys are made of it. GPUs are taken to do bfloat16 unless one of
    them is NVIDIA's of before Ampere, CPUs if they have instructions for it (AVX-512 BF16, AMX,
    ARM's bf16). Without them torch computes it too, but slower than float32.
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
