"""Entities: a tag for each word, from a linear-chain CRF."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torchcrf import CRF
from transformers.utils import ModelOutput

from model.config import ExtractorConfig
from model.encoder import PrefixedEncoder
from model.groups import ParameterGroup
from model.marginals import Chain

IGNORED = -100  # label and tag of a slot that is no word


@dataclass
class TaggerOutput(ModelOutput):
    """loss: scalar or None. tags: (B, W), IGNORED past a row's end; None while training."""

    loss: Tensor | None = None
    tags: Tensor | None = None
    emissions: Tensor | None = None


class EntityTagger(PrefixedEncoder):
    """Emissions and a CRF over tokens (HVPNeT, Eq. 10).

    Which places of the text are tokens is the caller's: the first pieces of words, or, as the
    published code has it, every piece, with labels for later pieces, [CLS] and [SEP].
    """

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        config.keys_to_ignore_at_inference = ["emissions"]
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(self.hidden, config.num_labels)
        self.crf = CRF(config.num_labels, batch_first=True)
        self.post_init()

    def parameter_groups(self) -> list[ParameterGroup]:
        """The CRF's first and last transitions are vectors, and no biases."""
        head = ParameterGroup("head", [self.classifier])
        return [*super().parameter_groups(), head, ParameterGroup("head", [self.crf], True)]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        words: Tensor,
        pyramid: Tensor | None = None,
        regions: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> TaggerOutput:
        """Mean negative log-likelihood of labels (B, W), and best tags (B, W) in evaluation.

        words: (B, W), where each token stands in input_ids, -1 past a row's end. Every row has at
        least one.
        """
        states = self.states(input_ids, attention_mask, pyramid, regions)
        rows = torch.arange(len(states), device=states.device)[:, None]
        mask = words >= 0
        tokens = states[rows, words.clamp(min=0)]  # (B, W, H)
        # The CRF sums over many paths: it stays in float32 also under autocast.
        emissions = self.classifier(self.dropout(tokens)).float()
        loss = None
        if labels is not None:
            # Padded labels are masked; the CRF only wants them to be valid indices.
            loss = -self.crf(emissions, labels.clamp(min=0), mask, reduction="mean")
        return TaggerOutput(
            loss=loss,
            tags=None if self.training else self._decode(emissions, mask),
            emissions=emissions,
        )

    def chain(self, emissions: np.ndarray) -> Chain:
        """The CRF over one post's emissions (W, K), without padding, for exact probabilities."""
        crf = self.crf
        parameters = (crf.start_transitions, crf.transitions, crf.end_transitions)
        start, transitions, end = (p.detach().double().cpu().numpy() for p in parameters)
        return Chain(start, transitions, end, emissions.astype(np.float64))

    def _decode(self, emissions: Tensor, mask: Tensor) -> Tensor:
        tags = mask.new_full(mask.shape, IGNORED, dtype=torch.long)
        for row, best in enumerate(self.crf.decode(emissions, mask)):
            tags[row, : len(best)] = torch.tensor(best, device=tags.device)
        return tags
