"""UMT: the unified multimodal transformer (Yu et al., ACL 2020), in the form of its published code.

Words that have seen the picture are mixed with words that have read what the picture's cells took
from the text. An auxiliary CRF tags entities without their types, from the text alone; its scores
also help the main CRF.

Where the paper differs, the code counts: main and auxiliary scores each count half, where the paper
adds them; no dropout before the classifiers; [CLS] and [SEP] are tagged. Departures from the code:
a missing picture is an all-zero map, where the code takes one fixed photo; the step-1 dropout is
the head's (`--dropout`); the classifier starts as in our other systems, not with BERT's deviation.
Nothing is published for relations: there, both opening markers' final states are classified, and
there is no auxiliary part.

Letters as in the published description: H text encoder, T text layer, Q text sees image, P image
reads text, A text reads P, F final states.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchcrf import CRF

from model.config import ExtractorConfig
from model.encoder import TextEncoder
from model.groups import ParameterGroup
from model.zoo._cross_layer import CrossLayer, initialise
from model.zoo._regions import picture_cells

AUXILIARY = ("PAD", "O", "B", "I", "X", "[CLS]", "[SEP]")  # labels: tags without entity types
HALF = 0.5  # share of each CRF's scores in the emissions
AUXILIARY_WEIGHT = 0.5  # of the auxiliary loss


class AuxiliaryTagger(nn.Module):
    """The auxiliary branch: tag entities without their types, from the text alone.

    width: H of its states. heads: of its layer. labels: of the main CRF, in their order.
    """

    def __init__(self, width: int, heads: int, labels: list[str]) -> None:
        super().__init__()
        self.layer = CrossLayer(width, heads)
        self.classifier = nn.Linear(width, len(AUXILIARY))
        self.crf = CRF(len(AUXILIARY), batch_first=True)
        initialise(self.classifier)
        # The auxiliary label of each main label.
        self.owners = [AUXILIARY.index(label.partition("-")[0]) for label in labels]
        self.shares = [1 / self.owners.count(owner) for owner in self.owners]

    def spread(self, states: Tensor) -> Tensor:
        """Return the scores of the auxiliary labels as scores (B, W, K) of the main labels.

        states: (B, W, H). The n main labels of an auxiliary label get 1 / n of its score each.
        """
        scores: Tensor = self.classifier(states)
        return scores[..., self.owners] * scores.new_tensor(self.shares)

    def loss(self, states: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Return the mean negative log-likelihood over the batch.

        states: (B, W, H). labels: (B, W), of the main CRF. mask: (B, W) bool.
        """
        scores = self.classifier(states).float()
        own = labels.new_tensor(self.owners)[labels]
        likelihood: Tensor = self.crf(scores, own, mask, reduction="mean")
        return -likelihood


class UMT(TextEncoder):
    """Text and picture attend to each other; a gate for each channel limits what was seen."""

    tags_pieces = True

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        width, heads = self.hidden, self.encoder.config.num_attention_heads
        channels = config.block_channels[-1]
        self.region_keys = nn.Linear(channels, width)
        self.region_queries = nn.Linear(channels, width)
        self.text_layer = CrossLayer(width, heads)
        self.text_to_image = CrossLayer(width, heads)
        self.image_to_text = CrossLayer(width, heads)
        self.text_to_text = CrossLayer(width, heads)
        self.gate = nn.Linear(2 * width, width)
        for part in (self.region_keys, self.region_queries, self.gate):
            initialise(part)
        self.auxiliary = None
        if self.task == "ner":
            labels = [config.id2label[number] for number in range(config.num_labels)]
            self.auxiliary = AuxiliaryTagger(width, heads, labels)

    def states(self, **inputs: Any) -> Tensor:
        """Return F (B, T, 2H); for entities joined with the auxiliary states: (B, T, 3H).

        inputs: as in `model/contract.py`. Of the picture and its crops, only the picture is read.
        """
        pyramid, regions = inputs.pop("pyramid"), inputs.pop("regions")
        text = self.dropout(self.read(**inputs).last_hidden_state)
        mask = inputs["attention_mask"].bool()
        cells = picture_cells(pyramid, regions, self.region_keys.in_features).to(self.dtype)
        words = self.text_layer(text, text, mask)  # T
        seen = self.text_to_image(words, self.region_keys(cells))  # Q
        image = self.image_to_text(self.region_queries(cells), words, mask)  # P
        mixed = self.text_to_text(words, image)  # A
        gate = self.gate(torch.cat([mixed, seen], dim=-1)).sigmoid()
        states = [mixed, gate * seen]
        if self.auxiliary is not None:
            states.append(self.auxiliary.layer(text, text, mask))
        return torch.cat(states, dim=-1)

    @property
    def emission_width(self) -> int:
        """2H, the width of F."""
        return 2 * self.hidden

    @property
    def pair_width(self) -> int:
        """The width of F at the markers, or at [CLS]."""
        return 2 * super().pair_width

    def emissions(self, tokens: Tensor) -> Tensor:
        """Return half the classifier's scores of F and half the auxiliary ones (B, W, K)."""
        assert self.auxiliary is not None
        final, auxiliary = tokens.split([self.emission_width, self.hidden], dim=-1)
        scores: Tensor = self.classifier(final)
        return HALF * scores + HALF * self.auxiliary.spread(auxiliary)

    def extra_loss(self, tokens: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Return the weighted loss of the auxiliary CRF."""
        assert self.auxiliary is not None
        states = tokens[..., self.emission_width :]
        return AUXILIARY_WEIGHT * self.auxiliary.loss(states, labels, mask)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the groups of the text encoder, of its own layers, and of the auxiliary branch."""
        maps = [self.region_keys, self.region_queries, self.gate]
        layers = [self.text_layer, self.text_to_image, self.image_to_text, self.text_to_text]
        groups = [*super().parameter_groups(), ParameterGroup("base", [*maps, *layers])]
        if self.auxiliary is not None:
            groups += [
                ParameterGroup("base", [self.auxiliary.layer]),
                ParameterGroup("head", [self.auxiliary.classifier]),
                ParameterGroup("head", [self.auxiliary.crf], vectors_decay=True),
            ]
        return groups
