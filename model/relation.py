"""The relation models' head: it classifies the relation between two marked entities."""

from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput

from model.config import ExtractorConfig
from model.contract import System
from model.groups import ParameterGroup
from model.hvpnet.prefixed import PrefixedEncoder
from model.hvpnet.variants import RELATION_HEADS


class RelationHead(System):
    """Classify a pair of entities (HVPNeT, Eq. 11): a part of each relation model.

    By default it reads the joined states of both opening markers, or the state of [CLS].
    `relation_head` "markers" (2H to labels) is that of the published code; "cls" (H to labels)
    reads the first token, as the paper says before Eq. 11. The text contains the markers in both
    cases. Departure: with pictures, the published code never trains its classifier; here it is
    trained.
    """

    task = "re"

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.dropout)
        assert config.relation_head in RELATION_HEADS, config.relation_head
        self.classifier = nn.Linear(self.pair_width, config.num_labels)
        self.post_init()

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the groups of the system and of the head."""
        return [*super().parameter_groups(), ParameterGroup("head", [self.classifier])]

    def forward(
        self, markers: Tensor, labels: Tensor | None = None, **inputs: Tensor
    ) -> SequenceClassifierOutput:
        """Compute logits (B, labels), and the mean cross-entropy if labels (B,) are given.

        markers: (B, 2), index in input_ids of the opening markers of head and tail.
        inputs: as for `System.states`.
        """
        pair = self.pair(self.states(**inputs), markers)
        logits = self.classifier(self.dropout(pair)).float()  # Eq. 11, before its softmax
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class RelationExtractor(RelationHead, PrefixedEncoder):
    """HVPNeT for relations."""
