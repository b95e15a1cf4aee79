"""Weights from files: read without running code; put into a module, each key accounted for."""

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

# A published checkpoint may hold its score as a NumPy scalar, which is a number and no code; NumPy
# has moved the function that makes one.
_SCALAR = np.float64(0).__reduce__()[0]
_NUMBERS: list = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")),
]
# What torch.load and safetensors raise for files that are cut off or damaged, or can't be opened.
DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
    SafetensorError,
)


class WeightsError(ValueError):
    """Weights can't be had. The message is one line and says what to do."""


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dict, whole or under "state_dict" or "model", from a .pth or .safetensors file.

    Nothing is unpickled but tensors and numbers. Raises WeightsError.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_NUMBERS):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose text advises to unpickle all the same
        raise WeightsError(
            f"{path}: no readable weights: broken, or with more than tensors in it, which is never "
            "unpickled"
        ) from error
    except DAMAGED as error:
        raise WeightsError(f"{path}: no readable weights: {one_line(error)}") from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path}: holds no state dict of tensors")
    return state


def save_state(state: Mapping[str, Tensor], file: Path) -> None:
    """Write weights as a .safetensors file that `read_state` takes."""
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)


def fill(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load `state` into a module; each key of either must be the other's, and of its shape.

    BatchNorm's `num_batches_tracked` may be missing, as in files older than it: it counts, and
    nothing reads it here. Raises WeightsError, which names `source`.
    """
    wanted = module.state_dict()
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in wanted]
    shapes = [
        f"{key} {tuple(state[key].shape)} not {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "other shape": shapes}
    if any(faults.values()):
        told = "; ".join(f"{kind}: {_few(keys)}" for kind, keys in faults.items() if keys)
        raise WeightsError(f"{source}: {told}")
    module.load_state_dict(state, strict=False)


def one_line(error: BaseException) -> str:
    """An exception's text for a message of one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _few(keys: list[str], most: int = 4) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
