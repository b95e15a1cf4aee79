"""Weights from files: read without running code; put into a module, each key accounted for."""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from features.errors import FeatureError, need_readable

# A published checkpoint may hold its score as a NumPy scalar, which is a number and no code; NumPy
# has moved the function that makes one.
_SCALAR = np.float64(0).__reduce__()[0]
_KINDS = ("f4", "f8", "i4", "i8")


def _number_type(kind: str, *_: object) -> np.dtype:
    """What stands for numpy.dtype: of the whole of it, "V9999999999" would fill the memory."""
    if kind not in _KINDS:
        raise ValueError(f"a NumPy scalar of type {kind!r}, not {', '.join(_KINDS)}")
    return np.dtype(kind)


_NUMBERS: list = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    (_number_type, "numpy.dtype"),
    *(type(np.dtype(kind)) for kind in _KINDS),
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
    ArithmeticError,
    MemoryError,
    AssertionError,
    struct.error,
    zipfile.BadZipFile,
    SafetensorError,
)


class WeightsError(FeatureError):
    """Weights can't be had. The message is one line and says what to do."""


def load_plain(path: Path) -> object:
    """What torch.save wrote: tensors and plain data, as nothing else is unpickled.

    Raises pickle.UnpicklingError and what DAMAGED lists.
    """
    if not path.is_file():
        raise ValueError("no such file")  # a pipe would be waited for
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type for entry in archive.infolist()):
                raise ValueError("is compressed, as torch.save never does: it may swell a lot")
    return torch.load(path, map_location="cpu", weights_only=True)


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dict, whole or under "state_dict" or "model", from a .pth or .safetensors file.

    Nothing is unpickled but tensors and numbers. Raises WeightsError, AccessError.
    """
    need_readable(path)
    try:
        if path.suffix == ".safetensors" and path.is_file():
            return load_file(path)
        with torch.serialization.safe_globals(_NUMBERS):
            state: Any = load_plain(path)
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
    if not isinstance(state, dict) or not all(_is_weight(*item) for item in state.items()):
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


def _is_weight(key: object, value: object) -> bool:
    """Whether this is a name and plain numbers: sparse ones, or none ("meta"), can't be copied."""
    return (
        isinstance(key, str)
        and isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not (value.is_quantized or value.is_nested)
    )


def _few(keys: list[str], most: int = 4) -> str:
    keys = [key if key.isprintable() and len(key) < 200 else f"{key!r:.200}" for key in keys]
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
