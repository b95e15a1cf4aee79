"""Random weights of backbones, scaled once a process, as that takes a CPU second each time."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch

from features import backbone as module
from features.backbone import Backbone

SCALE = module._calibrate
_SCALED: dict[tuple[str, int], dict[str, torch.Tensor]] = {}  # by architecture and seed


def scale(backbone: Backbone, seed: int) -> None:
    """Do what `_calibrate` does, the second time by a copy."""
    key = (str(backbone), seed)
    if key in _SCALED:
        backbone.load_state_dict(_SCALED[key])
    else:
        SCALE(backbone, seed)
        _SCALED[key] = deepcopy(backbone.state_dict())


@pytest.fixture(autouse=True, scope="module")
def scaled_once() -> Iterator[None]:
    """Scale random weights once for the tests of a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_calibrate", scale)
        yield
