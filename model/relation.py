"""The relation between two marked entities."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput

from model.config import ExtractorConfig
from model.encoder import PrefixedEncoder
from model.groups import ParameterGroup
from model.hvpnet.variants import AT_CLS, RELATION_HEADS


class RelationExtractor(PrefixedEncoder):
    """Classifies the states of the two opening markers, joined, or that of [CLS] (HVPNeT, Eq. 11).

    `relation_head` "markers" (2H to labels) is the published code's; "cls" (H to labels) reads the
    first token, as the paper's text before Eq. 11 has it. The markers stand in the text for both.
    The published code leaves its classifier at its random start when pictures are used; ours is
    trained.
    """

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.dropout)
        assert config.relation_head in RELATION_HEADS, config.relation_head
        width = self.hidden if config.relation_head == AT_CLS else 2 * self.hidden
        self.classifier = nn.Linear(width, config.num_labels)
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

        markers: (B, 2), where the opening markers of head and tail stand in input_ids; not read by
        the head "cls".
        """
        states = self.states(input_ids, attention_mask, pyramid, regions)
        read = self._read(states, markers)
        logits = self.classifier(self.dropout(read)).float()  # Eq. 11, before its softmax
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _read(self, states: Tensor, markers: Tensor) -> Tensor:
        """The states (B, 2H) at both markers, or (B, H) at the first token."""
        if self.config.relation_head == AT_CLS:
            return states[:, 0]
        rows = torch.arange(len(states), device=states.device)[:, None]
        return states[rows, markers].flatten(1)
