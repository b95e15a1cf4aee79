"""Convert a published MEGA checkpoint (`.pth.tar`) to a model of system `mega`, form released.

It holds no backbone: its objects are a scene-graph detector's, of 4096 numbers each, which no
ResNet gives. Each key is converted, listed in `left_out` with the reason, or refused.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from model.config import ExtractorConfig
from model.released import (
    Imported,
    bert_config,
    block_channels,
    drop_positions,
    fill,
    known_form,
    renamed,
    unwrapped,
)
from model.systems import model_class

SYSTEM, FORM = "mega", "released"
MARKERS = (1, 2, 3, 4)  # [unused0] to [unused3]
DROPOUT = 0.5
_PREFIX = "sentence_encoder."
_OBJECTS = f"{_PREFIX}linear_pic.weight"  # no other published checkpoint has it
_UNUSED = (f"{_PREFIX}linear.", f"{_PREFIX}linear_merge.")
_NAMES = {  # prefix of a published parameter's name -> prefix of its name here
    "bert.": "encoder.",
    "linear_pic.": "of_objects.",
    "linear_hidden.": "of_text.",
    "linear_q.": "query.",
    "linear_k.": "key.",
    "linear_v.": "value.",
    "linear_final1.": "merge.",
    "linear_final.": "join.",
    "fc.": "classifier.",
}


def is_mega(state: Mapping[str, Tensor]) -> bool:
    """Return True for the state dict of a published MEGA."""
    return _OBJECTS in unwrapped(state)


def import_mega(state: Mapping[str, Tensor], labels: Sequence[str]) -> Imported:
    """Convert a published checkpoint.

    state: the state dict of the file.
    labels: the relations, in the order of their numbers.

    Raises ReleasedError if a key is missing, unknown, or of a wrong shape.
    """
    state = unwrapped(state)
    left_out = {key: "a linear map, never used" for key in state if key.startswith(_UNUSED)}
    ours = {our_name(key): tensor for key, tensor in state.items() if key not in left_out}
    positions = drop_positions(ours)
    left_out |= {f"{_PREFIX}{key}": reason for key, reason in positions.items()}
    with known_form():
        encoder = bert_config(ours)
    config = ExtractorConfig(
        encoder=encoder.to_dict(),
        system=SYSTEM,
        form=FORM,
        block_channels=block_channels(ours[our_name(_OBJECTS)].shape[1]),
        grid=1,
        dropout=DROPOUT,
        marker_ids=MARKERS,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = model_class("re", SYSTEM)(config)
    fill(model, ours)
    return Imported(model.eval(), {}, left_out)


def our_name(published: str) -> str:
    """Return the name that a published parameter has here; an unknown one keeps its name."""
    plain = published.removeprefix(_PREFIX)
    ours = renamed(plain, _NAMES)
    return published if ours == plain else ours
