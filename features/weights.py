"""Read weights from files without running their code; load them into modules, key by key."""

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

# A published checkpoint may hold its score as a NumPy scalar, which is safe to unpickle. NumPy 2
# moved the function that builds it; files name either place.
_SCALAR = np.float64(0).__reduce__()[0]
_KINDS = ("f4", "f8", "i4", "i8")


def _number_type(kind: str, *_: object) -> np.dtype:
    """Replace numpy.dtype while unpickling: a type like "V9999999999" would fill the memory."""
    if kind not in _KINDS:
        raise ValueError(f"a NumPy scalar of type {kind!r}, not {', '.join(_KINDS)}")
    return np.dtype(kind)


_NUMBERS: list = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    (_number_type, "numpy.dtype"),
    *(type(np.dtype(kind)) for kind in _KINDS),
]
# Exceptions of torch.load and safetensors for files that are cut off, damaged, or cannot be opened.
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
    """Weights that cannot be loaded. The message is one line and says what to do."""


def load_plain(path: Path) -> object:
    """Load a file of torch.save. Only tensors and plain data are unpickled.

    Raises pickle.UnpicklingError and the errors in DAMAGED.
    """
    if not path.is_file():
        raise ValueError("no such file")  # opening a pipe would block
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type for entry in archive.infolist()):
                raise ValueError(
                    "is compressed, unlike torch.save's files: it may be a decompression bomb"
                )
    return torch.load(path, map_location="cpu", weights_only=True)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .pth or .safetensors file.

    It may be the whole file, or lie under the key "state_dict" or "model". Only tensors and numbers
    are unpickled. Raises WeightsError, AccessError.
    """
    need_readable(path)
    try:
        if path.suffix == ".safetensors" and path.is_file():
            return load_file(path)
        with torch.serialization.safe_globals(_NUMBERS):
            state: Any = load_plain(path)
    except pickle.UnpicklingError as error:  # its own text advises to unpickle without the check
        raise WeightsError(
            f"{path}: no readable weights: the file is damaged, or holds more than tensors, and "
            "other objects are never unpickled"
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
    """Write weights as a .safetensors file, for `read_state`."""
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)


def fill(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load `state` into a module; both must have the same keys and shapes.

    BatchNorm's `num_batches_tracked` may be missing, as in old files: it is a counter that this
    project does not read. Raises WeightsError, which names `source`.
    """
    expected = module.state_dict()
    missing = [k for k in expected if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key}: expected {tuple(value.shape)}, found {tuple(state[key].shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "other shape": shapes}
    if any(faults.values()):
        message = "; ".join(f"{kind}: {_few(keys)}" for kind, keys in faults.items() if keys)
        raise WeightsError(f"{source}: {message}")
    module.load_state_dict(state, strict=False)


def one_line(error: BaseException) -> str:
    """Return an exception's text on one line, at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _is_weight(key: object, value: object) -> bool:
    """Return True for a name with a dense tensor on the CPU: other tensors cannot be copied."""
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
