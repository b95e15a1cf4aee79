"""The relation model: it classifies the relation between two marked entities."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput

from model.config import ExtractorConfig
from model.encoder import PrefixedEncoder
from model.groups import ParameterGroup
from model.hvpnet.variants import AT_CLS, RELATION_HEADS


class RelationExtractor(PrefixedEncoder):
    """Classify the joined states of both opening markers, or the state of [CLS] (HVPNeT, Eq. 11).

    `relation_head` "markers" (2H to labels) is that of the published code; "cls" (H to labels)
    reads the first token, as the paper says before Eq. 11. The text contains the markers in both
    cases. Departure: with pictures, the published code never trains its classifier; here it is
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
        segment_ids: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Compute logits (B, labels), and the mean cross-entropy if labels (B,) are given.

        input_ids, attention_mask: (B, T).
        markers: (B, 2), index in input_ids of the opening markers of head and tail; ignored by the
            relation head "cls".
        pyramid, regions, segment_ids: as for `PrefixedEncoder.encode`.
        """
        states = self.states(input_ids, attention_mask, pyramid, regions, segment_ids)
        read = self._read(states, markers)
        logits = self.classifier(self.dropout(read)).float()  # Eq. 11, before its softmax
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _read(self, states: Tensor, markers: Tensor) -> Tensor:
        """Return the states (B, 2H) at both markers, or (B, H) at the first token."""
        if self.config.relation_head == AT_CLS:
            return states[:, 0]
        rows = torch.arange(len(states), device=states.device)[:, None]
        return states[rows, markers].flatten(1)
