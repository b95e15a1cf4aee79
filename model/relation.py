"""The relation between two marked entities."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput

from model.config import ExtractorConfig
from model.encoder import PrefixedEncoder
from model.groups import ParameterGroup


class RelationExtractor(PrefixedEncoder):
    """Classifies the states of the two opening markers, joined (HVPNeT, Eq. 11).

    The paper's text reads [CLS]; the published code, like this one, the markers. There the
    classifier is left at its random start when pictures are used; ours is trained.
    """

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * self.hidden, config.num_labels)
        self.post_init()

    def parameter_groups(self) -> list[ParameterGroup]:
        return [*super().parameter_groups(), ParameterGroup("head", [self.classifier])]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        markers: Tensor,
        pyramid: Tensor | None = None,
        regions: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Logits (B, labels), and the mean cross-entropy where labels (B,) are given.

        markers: (B, 2), where the opening markers of head and tail stand in input_ids.
        """
        states = self.states(input_ids, attention_mask, pyramid, regions)
        rows = torch.arange(len(states), device=states.device)[:, None]
        pair = states[rows, markers].flatten(1)  # (B, 2H)
        logits = self.classifier(self.dropout(pair)).float()  # Eq. 11, before its softmax
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
