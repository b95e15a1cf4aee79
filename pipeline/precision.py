"""Which precision a machine does well, found out without torch: stages' keys are made of it."""

import os
from functools import cache
from pathlib import Path

FLOAT32, BFLOAT16 = "float32", "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)
_CPU = Path("/proc/cpuinfo")
_GPUS = Path("/proc/driver/nvidia/gpus")


@cache
def well_done(device: str) -> str:
    """The precision in which "auto", "cpu" or "cuda" computes fastest: the default.

    GPUs are taken to do bfloat16 (NVIDIA's do since Ampere), CPUs if they have instructions for it
    (AVX-512 BF16, AMX, ARM's bf16). Without them torch computes it too, but slower than float32.
    """
    if device == "cuda" or (device == "auto" and _gpu_there()):
        return BFLOAT16
    told = _CPU.read_text() if _CPU.exists() else ""
    # The first processor's line: "flags" on x86, "Features" on ARM.
    lines = (line for line in told.splitlines() if line.startswith(("flags", "Features")))
    names = set(next(lines, "").split())
    return BFLOAT16 if names & {"avx512_bf16", "amx_bf16", "bf16"} else FLOAT32


def _gpu_there() -> bool:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and _GPUS.is_dir() and any(_GPUS.iterdir())
