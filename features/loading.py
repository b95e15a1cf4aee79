"""Models that transformers loads: the loaders' exceptions, and checks of what they loaded."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from features.errors import need_readable
from features.grounding.hub import lacks
from features.weights import WeightsError

# Exceptions of transformers' loaders on broken files.
BROKEN = (
    *(OSError, ValueError, TypeError, AttributeError, LookupError, RuntimeError, ImportError),
    *(StrictDataclassError, SafetensorError),
)
_LAYER = re.compile(r"layers\.\d+\.")


def prepare_loading(folder: Path, expected: str) -> None:
    """Check that a model's folder is whole, and quiet transformers.

    expected: begins the error: the folder, and what it should hold.

    Raises WeightsError, AccessError.
    """
    need_readable(folder)
    if lacking := lacks(folder):
        raise WeightsError(f"{expected}, found no {', no '.join(lacking)}")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def check_weights(model: Any, info: Mapping[str, Any], expected: str) -> None:
    """Raise WeightsError for weights missing, of a wrong shape, of unknown layers, not finite."""
    learned = dict(model.named_parameters())
    if missing := sorted(learned.keys() & set(info["missing_keys"])):
        raise WeightsError(
            f"{expected}: model.safetensors lacks {len(missing)} of the weights, such as "
            f"{missing[0]}"
        )
    if mismatched := sorted(info["mismatched_keys"]):
        key, actual, configured = mismatched[0]
        raise WeightsError(
            f"{expected}: {len(mismatched)} weights have another shape than config.json says, such "
            f"as {key}: expected {tuple(configured)}, found {tuple(actual)}"
        )
    surplus = [
        key for key in sorted(info["unexpected_keys"]) if _LAYER.sub("layers.0.", key) in learned
    ]
    if surplus:
        raise WeightsError(
            f"{expected}: config.json has no layer for {len(surplus)} of the weights, such as "
            f"{surplus[0]}"
        )
    for key, weight in learned.items():
        if not weight.isfinite().all():
            raise WeightsError(f"{expected}: the weight {key} holds values that are not finite")
