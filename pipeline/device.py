"""Which device computes."""

import torch

from pipeline.corpus import DataError


def pick_device(name: str) -> str:
    """The device for "auto" is a GPU where there is one. Raises DataError for a missing one."""
    found = torch.cuda.is_available()
    if name.startswith("cuda") and not found:
        raise DataError(f"--device {name}: torch {torch.__version__} finds no GPU; use cpu or auto")
    return ("cuda" if found else "cpu") if name == "auto" else name
