"""BERT+SG: entity-marker BERT beside the picture's objects, a baseline of MEGA (Zheng et al. 2021).

No source is published; both forms follow compiled remains in MEGA's repository, whose tables call
them BERT+SG and BERT+SG+Att. They read objects of a scene graph, but none of its relations. Here
the objects are the whole picture and its crops: ours, as is the width of their vectors.

The text's side is MTB's. In the form "attention" each object attends to the pair of entities, a
single key: the softmax is 1 and the result is the pair's value. Query and key would never get a
gradient, so they don't exist here.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ExtractorConfig
from model.encoder import TextEncoder
from model.groups import ParameterGroup
from model.zoo._regions import region_vectors

REGIONS = 4  # the picture and three crops; the published form has five objects
PICTURE_WIDTH = 1024  # of the joined objects in form "plain"


class BertSG(TextEncoder):
    """The joined states of both opening markers, and a vector of all regions.

    Each post has `REGIONS` slots, zeros for a missing region; further crops are not read.
    """

    tasks = ("re",)
    markers = ("[unused0]", "[unused1]", "[unused2]", "[unused3]")
    forms = ("plain", "attention")

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        self.channels = config.block_channels[-1]
        pair, width = super().pair_width, self.hidden  # pair: 2H, or H with relation_head "cls"
        self.attends = config.form == "attention"
        if self.attends:
            self.transform = nn.Linear(pair, width)
            self.objects = nn.Linear(self.channels, width)
            self.value = nn.Linear(pair, width)
            self.merge = nn.Linear(2 * width, 2 * width)
        else:
            self.transform = nn.Linear(pair, pair)
            self.objects = nn.Linear(REGIONS * self.channels, PICTURE_WIDTH)

    def states(self, **inputs: Any) -> Tensor:
        """Return the last hidden states, each with the picture's vector behind it (B, T, H + D).

        inputs: as in `model/contract.py`.
        """
        vectors = region_vectors(inputs.pop("pyramid"), inputs.pop("regions"), self.channels)
        missing = REGIONS - vectors.shape[1]  # negative if there are further crops: they are cut
        slots = functional.pad(vectors.to(self.dtype), (0, 0, 0, missing))
        picture = self.objects(slots).sum(1) if self.attends else self.objects(slots.flatten(1))
        text = self.read(**inputs).last_hidden_state
        return torch.cat([text, picture[:, None].expand(-1, text.shape[1], -1)], -1)

    def pair(self, states: Tensor, markers: Tensor) -> Tensor:
        """Return the mapped states of the markers with the picture's vector (B, D).

        plain: [t ; v], of t = Linear([head ; tail]) and v = Linear(all slots joined).
        attention: Linear([t ; Σ]), of t as above and Σ the sum over slots of the pair's value and
            the slot's own map.
        """
        text, picture = states[..., : self.hidden], states[:, 0, self.hidden :]
        entities = super().pair(text, markers)
        mapped = self.transform(entities)
        if not self.attends:
            return torch.cat([mapped, picture], -1)
        attended = REGIONS * self.value(entities) + picture
        merged: Tensor = self.merge(torch.cat([mapped, attended], -1))
        return merged

    @property
    def pair_width(self) -> int:
        """D, the width of `pair`."""
        return 2 * self.hidden if self.attends else super().pair_width + PICTURE_WIDTH

    def parameter_groups(self) -> list[ParameterGroup]:
        own = [self.transform, self.objects]
        if self.attends:
            own += [self.value, self.merge]
        return [*super().parameter_groups(), ParameterGroup("base", own)]
