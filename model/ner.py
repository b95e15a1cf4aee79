"""The entity models' head: a linear-chain CRF tags each word."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torchcrf import CRF
from transformers.utils import ModelOutput

from model.config import ExtractorConfig
from model.contract import System
from model.groups import ParameterGroup
from model.hvpnet.prefixed import PrefixedEncoder
from model.marginals import Chain

IGNORED = -100  # label and tag of padding


@dataclass
class TaggerOutput(ModelOutput):
    """Output of the entity model.

    loss: scalar; None without labels.
    tags: (B, W), IGNORED after a row's end; None while training.
    emissions: (B, W, K).
    """

    loss: Tensor | None = None
    tags: Tensor | None = None
    emissions: Tensor | None = None


class EntityHead(System):
    """Tag tokens with a CRF over their emissions (HVPNeT, Eq. 10): a part of each entity model.

    The caller chooses the tokens: the first pieces of words, or every piece, as in the published
    code, which has labels for later pieces, [CLS] and [SEP].
    """

    task = "ner"

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        config.keys_to_ignore_at_inference = ["emissions"]
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(self.emission_width, config.num_labels)
        self.crf = CRF(config.num_labels, batch_first=True)
        self.post_init()

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the groups of the system and of the head.

        The CRF's vectors decay: start and end transitions are not biases.
        """
        head = ParameterGroup("head", [self.classifier])
        return [*super().parameter_groups(), head, ParameterGroup("head", [self.crf], True)]

    def forward(
        self, words: Tensor, labels: Tensor | None = None, **inputs: Tensor
    ) -> TaggerOutput:
        """Compute emissions, the loss if labels are given, and the best tags in evaluation.

        words: (B, W), index of each token in input_ids, -1 after a row's end; at least one a row.
        labels: (B, W). The loss is the mean of their negative log-likelihoods over the batch, plus
            the system's extra loss.
        inputs: as for `System.states`.
        """
        states = self.states(**inputs)
        rows = torch.arange(len(states), device=states.device)[:, None]
        mask = words >= 0
        tokens = states[rows, words.clamp(min=0)]  # (B, W, H)
        # The CRF sums over many paths, so it stays in float32 under autocast, too.
        emissions = self.emissions(tokens).float()
        loss = None
        if labels is not None:
            labels = labels.clamp(min=0)  # of padding: masked, but the CRF requires valid indices
            loss = -self.crf(emissions, labels, mask, reduction="mean")
            extra = self.extra_loss(tokens, labels, mask)
            loss = loss if extra is None else loss + extra
        return TaggerOutput(
            loss=loss,
            tags=None if self.training else self._decode(emissions, mask),
            emissions=emissions,
        )

    def chain(self, emissions: np.ndarray) -> Chain:
        """Return the CRF over a post's emissions (W, K), without padding, for probabilities."""
        crf = self.crf
        parameters = (crf.start_transitions, crf.transitions, crf.end_transitions)
        start, transitions, end = (p.detach().double().cpu().numpy() for p in parameters)
        return Chain(start, transitions, end, emissions.astype(np.float64))

    def _decode(self, emissions: Tensor, mask: Tensor) -> Tensor:
        tags = mask.new_full(mask.shape, IGNORED, dtype=torch.long)
        for row, best in enumerate(self.crf.decode(emissions, mask)):
            tags[row, : len(best)] = torch.tensor(best, device=tags.device)
        return tags


class EntityTagger(EntityHead, PrefixedEncoder):
    """HVPNeT for entities."""
