"""VisualBERT (Li et al. 2019): the layers of BERT read words and regions as one sequence.

`--encoder` is a VisualBERT or a plain BERT. On a plain BERT the regions' position and token type
start as copies of the text's, and the projection of regions is random.

How HVPNeT's tables use it is not published. Ours: the regions are the whole picture and its crops,
each the mean of its last block's cells; the CRF tags entities from the words' states; the relation
classifier reads the states of both opening markers. Text and regions are masked separately: a
published tagger (RiTUAL) masks them as one sequence, so that padding is attended to.
"""

import logging
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model.config import ExtractorConfig
from model.encoder import VISUAL_BERT, EncoderError, TextEncoder
from model.groups import ParameterGroup
from model.zoo._cross_layer import initialise
from model.zoo._regions import region_vectors

log = logging.getLogger(__name__)
_VISUAL = (  # settings of a VisualBERT that a BERT lacks, or has another value of
    *("visual_embedding_dim", "special_visual_initialize", "bypass_transformer"),
    *("architectures", "model_type"),
)


class RegionTokens(nn.Module):
    """Regions as tokens of BERT, before its LayerNorm.

    All regions have position 0 and token type 1, so only these rows of the published tables exist.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(channels, width)
        self.position = nn.Parameter(torch.zeros(1, width))
        self.token_type = nn.Parameter(torch.zeros(1, width))
        initialise(self.projection)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return tokens (B, R, H). vectors: (B, R, C)."""
        tokens: Tensor = self.projection(vectors) + self.position + self.token_type
        return tokens

    def start(self, positions: Tensor, token_types: Tensor) -> None:
        """Copy position 0 and token type 1 from their tables.

        positions: (positions, H). token_types: (2, H); a BERT with a single type gives that one.
        """
        with torch.no_grad():
            self.position.copy_(positions[:1])
            self.token_type.copy_(token_types[-1:])


class VisualBERT(TextEncoder):
    """BERT over the words, then the regions. It needs a BERT or VisualBERT as its encoder.

    Its encoder is a plain BERT and the regions' part lies beside it, so that other systems can
    start from its text encoder, and it from theirs.
    """

    def __init__(self, config: ExtractorConfig) -> None:
        config.encoder = _as_bert(config.encoder)
        super().__init__(config)
        self.regions = RegionTokens(config.block_channels[-1], self.hidden)
        self._start_as_text()

    def adopt(self, encoder: PreTrainedModel) -> None:
        """Replace the random encoder by a pretrained BERT or VisualBERT of the same configuration.

        A VisualBERT's projection is left out, with one line in the log, if its input is not C wide.
        """
        if encoder.config.model_type != VISUAL_BERT:
            super().adopt(encoder)
            self._start_as_text()
            return
        state = encoder.state_dict()
        prefix = "embeddings.visual_"
        visual = {key: state.pop(key) for key in [*state] if key.startswith(prefix)}
        self.encoder.load_state_dict(state)
        tables = (
            visual[f"{prefix}{kind}_embeddings.weight"] for kind in ("position", "token_type")
        )
        self.regions.start(*tables)
        own, published = self.regions.projection, encoder.config.visual_embedding_dim
        if published == own.in_features:
            own.weight.data.copy_(visual[f"{prefix}projection.weight"])
            own.bias.data.copy_(visual[f"{prefix}projection.bias"])
        else:
            log.info(
                "VisualBERT's projection starts anew: its regions have %d channels, ours %d",
                published,
                own.in_features,
            )

    def _start_as_text(self) -> None:
        tables = self.encoder.embeddings
        self.regions.start(tables.position_embeddings.weight, tables.token_type_embeddings.weight)

    def states(self, **inputs: Any) -> Tensor:
        """Return the last states of the words (B, T, H). inputs: as in `model/contract.py`."""
        embeddings, regions = self.encoder.embeddings, inputs["regions"]
        has_segments = self.encoder.config.type_vocab_size > 1
        segments = inputs.get("segment_ids") if has_segments else None
        text = embeddings(input_ids=inputs["input_ids"], token_type_ids=segments)
        vectors = region_vectors(inputs["pyramid"], regions, self.regions.projection.in_features)
        shown = embeddings.dropout(embeddings.LayerNorm(self.regions(vectors.to(self.dtype))))
        mask = torch.cat([inputs["attention_mask"].bool(), regions], 1)[:, None, None]
        joined = self.encoder.encoder(torch.cat([text, shown], 1), attention_mask=mask)
        states: Tensor = joined.last_hidden_state[:, : text.shape[1]]
        return states

    def parameter_groups(self) -> list[ParameterGroup]:
        return [*super().parameter_groups(), ParameterGroup("base", [self.regions])]


def _as_bert(encoder: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of an encoder's BERT. Raises EncoderError if it has none."""
    kind = encoder["model_type"]
    if kind == "bert":
        return encoder
    if kind != VISUAL_BERT:
        raise EncoderError(
            f"--encoder: expected one of type bert or {VISUAL_BERT} with --system visualbert, "
            f"found type {kind!r}; give another one"
        )
    if encoder.get("bypass_transformer"):
        raise EncoderError(
            "--encoder: expected a VisualBERT whose layers read words and regions, found "
            "bypass_transformer in its config.json; give another one"
        )
    rest = {name: value for name, value in encoder.items() if name not in _VISUAL}
    return {**rest, "model_type": "bert"}
