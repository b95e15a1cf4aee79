"""HVPNeT: a text encoder with a visual prefix before the keys and values of each layer."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutput

from model.config import ExtractorConfig
from model.encoder import EncoderError, TextEncoder
from model.groups import ParameterGroup
from model.hvpnet import attention
from model.hvpnet.prefix import VisualPrefix
from model.hvpnet.variants import ONLY_OBJECTS, STYLES, TEXT_ONLY, VARIANTS


class PrefixedEncoder(TextEncoder):
    """A text encoder with a visual prefix, unless text-only: the system HVPNeT."""

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        assert config.variant in VARIANTS, config.variant
        assert config.style in STYLES, config.style
        encoder_config = self.encoder.config
        self.prefix = (
            VisualPrefix(
                config.block_channels,
                config.grid,
                encoder_config.num_hidden_layers,
                self.hidden,
                encoder_config.num_attention_heads,
                config.style,
                config.variant,
                config.bottleneck,
            )
            if config.variant != TEXT_ONLY
            else None
        )

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the parameter group of encoder and prefix."""
        return [ParameterGroup("base", [m for m in (self.encoder, self.prefix) if m is not None])]

    def states(self, **inputs: Any) -> Tensor:
        """Return the last hidden states (B, T, H); arguments as for `encode`."""
        return self.encode(**inputs).last_hidden_state

    def encode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pyramid: Tensor | None = None,
        regions: Tensor | None = None,
        segment_ids: Tensor | None = None,
        **outputs: Any,
    ) -> BaseModelOutput:
        """Run the text encoder with the visual prefix.

        input_ids, attention_mask: (B, T).
        pyramid: (B, R, ΣC, h, w), picture first; for a missing region, that of an all-zero input.
        regions: (B, R) bool, True for a picture or crop that exists.
        segment_ids: (B, T), 1 for the pieces of the picture's text, else 0; ignored by encoders
            that don't know two segments.
        outputs: `output_hidden_states` or `output_attentions`=True. Attention weights
            (B, heads, T, P + T) begin with the P slots of the prefix.

        A text-only model ignores pyramid and regions.
        """
        extra: dict[str, Any] = {}
        if self.prefix is not None:
            assert pyramid is not None, "this variant needs pyramids"
            assert regions is not None, "this variant needs the mask of regions"
            if self.encoder.config._attn_implementation != attention.NAME:
                raise EncoderError(
                    f"the encoder's attention is {self.encoder.config._attn_implementation!r}, "
                    f"which drops the prefix; it must be {attention.NAME!r}"
                )
            if self.config.variant == ONLY_OBJECTS:
                pyramid, regions = pyramid[:, 1:], regions[:, 1:]
            prefix = self.prefix(pyramid.to(self.dtype))
            extra = {"prefix": prefix, "prefix_mask": self.prefix.slot_mask(regions)}
        return self.read(input_ids, attention_mask, segment_ids, **extra, **outputs)

    def gates(self, pyramid: Tensor) -> Tensor:
        """Return the gate of each region and layer (B, R, L, 4), Eq. 4; also of missing regions."""
        assert self.prefix is not None, "a text-only model has no gate"
        blocks = self.prefix.blocks(pyramid.to(self.dtype))
        return self.prefix.gate(self.prefix.pooled(blocks)).float()

    def attention_to_regions(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pyramid: Tensor,
        regions: Tensor,
        segment_ids: Tensor | None = None,
    ) -> Tensor:
        """Return each token's attention to the positions of each region (Eq. 9).

        Arguments as for `encode`. Returns (L, B, T, R, hw), the mean over heads; the sum over R, hw
        is 1 minus the attention to the text. In style paper a missing region gets 0.
        """
        assert self.prefix is not None, "a text-only model has no regions"
        output = self.encode(
            input_ids, attention_mask, pyramid, regions, segment_ids, output_attentions=True
        )
        first = 1 if self.config.variant == ONLY_OBJECTS else 0  # that variant skips the picture
        count = regions.shape[1] - first
        slots = count * self.prefix.positions
        of_heads = self.prefix.slots_of_heads(slots).to(input_ids.device)
        layers = []
        for weights in output.attentions:
            to_prefix = weights[..., :slots].float()  # (B, heads, T, P)
            shares = to_prefix.new_zeros(to_prefix.shape).scatter_add_(
                3, of_heads[None, :, None].expand_as(to_prefix), to_prefix
            )
            shares = shares.mean(1).unflatten(-1, (count, self.prefix.positions))
            layers.append(functional.pad(shares, (0, 0, first, 0)))
        return torch.stack(layers)
