"""A stock Hugging Face text encoder that takes a visual prefix."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from model.config import ExtractorConfig
from model.errors import ModelError
from model.groups import ParameterGroup
from model.hvpnet import attention
from model.hvpnet.dropout import quicken
from model.hvpnet.prefix import VisualPrefix
from model.hvpnet.variants import ONLY_OBJECTS, STYLES, TEXT_ONLY, VARIANTS

# Encoders that hand the prefix on to every layer of their own. Others swallow it silently
# (DeBERTa-v2, MPNet) or share one layer (ALBERT).
ENCODERS = ("bert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta")
_AS_OURS = {"attn_implementation": attention.NAME, "dtype": "float32"}
# Both are checked here: left alone, transformers only says to look above for the mismatched ones.
_CHECKED: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
# What loaders raise for files that are missing, cut short or damaged.
_DAMAGED = (
    *(OSError, ValueError, TypeError, RuntimeError, LookupError),
    *(SafetensorError, StrictDataclassError, pickle.UnpicklingError),
)
# Weights of an encoder that nothing here reads: the pooler, behind the last hidden state.
_UNUSED = "pooler."
_AGAIN = "fetch its folder again"
_ELSEWHERE = (
    "give the folder of a Hugging Face model with --encoder FOLDER, or go online once so that it "
    "can be downloaded"
)
_LAYERS = ("encoder.layer.", "transformer.layer.", "layers.")  # where ENCODERS keep theirs


class EncoderError(ModelError):
    """The text encoder can't be had, or can't take a prefix."""


def check_encoder(config: PreTrainedConfig) -> None:
    """Raise EncoderError unless an encoder of this configuration can take a visual prefix."""
    if config.model_type not in ENCODERS:
        raise EncoderError(
            f"encoder type {config.model_type!r} can't take a visual prefix; "
            f"choose one of: {', '.join(ENCODERS)}"
        )


def load_encoder(name: str, ask_hub: Callable[[str], None]) -> PreTrainedModel:
    """A pretrained encoder by hub name or folder: from the hub's cache, else downloaded.

    ask_hub: raises OSError within seconds if the hub is out of reach or has no such model; the
    loader by itself would try for a minute. Raises EncoderError, one line, with the fix, also
    where a weight other than the pooler's is missing: transformers would draw it at random.
    """
    attention.register()
    try:
        loaded = _from_cache(name)
        if loaded is None:
            if not Path(name).is_dir():
                ask_hub(name)
            loaded = AutoModel.from_pretrained(name, **_CHECKED, **_AS_OURS)
        model, info = loaded
    except _DAMAGED as error:
        reason = _first_line(error)
        advice = _AGAIN if Path(name).is_dir() else _ELSEWHERE
        raise EncoderError(f"encoder {name!r} can't be loaded ({reason}); {advice}") from error
    check_encoder(model.config)
    _check_weights(name, info)
    _check_finite(name, model)
    return model


def _check_weights(name: str, info: Mapping[str, Any]) -> None:
    """Raise EncoderError for weights that are missing, of another shape, or of layers too many."""
    keys = {kind: sorted(map(str, info[f"{kind}_keys"])) for kind in ("missing", "unexpected")}
    missing = [key for key in keys["missing"] if not key.startswith(_UNUSED)]
    if missing:
        raise EncoderError(
            f"encoder {name!r}: {len(missing)} of its weights are missing, such as {missing[0]}; "
            "fetch its folder again, or take the configuration that belongs to its weights"
        )
    if other := sorted(info["mismatched_keys"]):
        key, own, expected = other[0]
        raise EncoderError(
            f"encoder {name!r}: {len(other)} of its weights have another shape than its "
            f"configuration says, such as {key}: expected {tuple(expected)}, found {tuple(own)}; "
            "take the configuration that belongs to its weights"
        )
    left = [key for key in keys["unexpected"] if key.startswith(_LAYERS)]
    if left:
        raise EncoderError(
            f"encoder {name!r}: its configuration has no place for {len(left)} of its weights, "
            f"such as {left[0]}; take the configuration that belongs to them"
        )


def _check_finite(name: str, model: PreTrainedModel) -> None:
    for key, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise EncoderError(
                f"encoder {name!r}: its weight {key} holds values that are not finite; {_AGAIN}"
            )


def _from_cache(name: str) -> tuple[PreTrainedModel, Mapping[str, Any]] | None:
    """The hub's model of that name if this machine has all of it."""
    if Path(name).is_dir():
        return None
    try:
        loaded: tuple[PreTrainedModel, Mapping[str, Any]] = AutoModel.from_pretrained(
            name, local_files_only=True, **_CHECKED, **_AS_OURS
        )
        return loaded
    except OSError:
        return None


def load_saved(kind: "type[PrefixedEncoder]", folder: Path) -> "PrefixedEncoder":
    """A model that was saved in `folder`, each of its weights found there. Raises EncoderError."""
    try:
        model, info = kind.from_pretrained(folder, **_CHECKED)
    except _DAMAGED as error:
        raise EncoderError(
            f"{folder}: expected a saved model, found a damaged one ({_first_line(error)}); "
            "run what made it again"
        ) from error
    # transformers itself would draw what is missing by chance.
    wrong = {name: sorted(map(str, info[name])) for name in ("missing_keys", "mismatched_keys")}
    for name, keys in wrong.items():
        if keys:
            raise EncoderError(
                f"{folder}: {len(keys)} weights are {name.removesuffix('_keys')}, such as "
                f"{keys[0]}; run what made it again"
            )
    return model


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class PrefixedEncoder(PreTrainedModel):
    """Text encoder and, unless the variant is text-only, the visual prefix: both heads' base.

    A new model has random weights throughout; `adopt` puts a pretrained encoder in.
    """

    config_class = ExtractorConfig
    base_model_prefix = ""
    _supports_sdpa = True
    _supports_attention_backend = True
    # The Trainer would otherwise believe that the loss is already averaged over accumulated steps.
    accepts_loss_kwargs = False

    def __init__(self, config: ExtractorConfig) -> None:
        attention.register()
        super().__init__(config)
        assert config.variant in VARIANTS, config.variant
        assert config.style in STYLES, config.style
        encoder_config = config.encoder_config()
        check_encoder(encoder_config)
        self.encoder = AutoModel.from_config(encoder_config, **_AS_OURS)
        self._prepare_encoder()
        self.hidden = encoder_config.hidden_size
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

    def adopt(self, encoder: PreTrainedModel) -> None:
        """Take a pretrained encoder of the configuration's shape in place of the random one."""
        self.encoder = encoder
        self._prepare_encoder()

    def _prepare_encoder(self) -> None:
        quicken(self.encoder)
        # DistilBERT's attention modules don't know which layer they are in: tell them.
        if self.encoder.config.model_type == "distilbert":
            for number, layer in enumerate(self.encoder.transformer.layer):
                layer.attention.layer_idx = number

    def parameter_groups(self) -> list[ParameterGroup]:
        """Which rate each parameter trains at; a head adds its own."""
        return [ParameterGroup("base", [m for m in (self.encoder, self.prefix) if m is not None])]

    def _init_weights(self, module: nn.Module) -> None:
        """Ours keep the initialisation of their constructors; the encoder has its own."""

    def states(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pyramid: Tensor | None = None,
        regions: Tensor | None = None,
    ) -> Tensor:
        """Last hidden states (B, T, H), as `encode` computes them."""
        return self.encode(input_ids, attention_mask, pyramid, regions).last_hidden_state

    def encode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pyramid: Tensor | None = None,
        regions: Tensor | None = None,
        **wanted: Any,
    ) -> BaseModelOutput:
        """The text encoder's output under the visual prefix.

        input_ids, attention_mask: (B, T). pyramid: (B, R, ΣC, h, w), picture first; where there is
        no region, that of an all-zero input. regions: (B, R) bool, True where there is a picture
        or crop. A text-only model ignores both. wanted: `output_hidden_states`,
        `output_attentions`, whose weights (B, heads, T, P + T) begin with the prefix's P slots.
        """
        extra: dict[str, Any] = {}
        if self.prefix is not None:
            assert pyramid is not None, "this variant needs pyramids"
            assert regions is not None, "this variant needs the mask of the regions"
            if self.encoder.config._attn_implementation != attention.NAME:
                raise EncoderError(
                    f"the encoder's attention is {self.encoder.config._attn_implementation!r}, "
                    f"which drops the prefix; it must be {attention.NAME!r}"
                )
            if self.config.variant == ONLY_OBJECTS:
                pyramid, regions = pyramid[:, 1:], regions[:, 1:]
            prefix = self.prefix(pyramid.to(self.dtype))
            extra = {"prefix": prefix, "prefix_mask": self.prefix.slot_mask(regions)}
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask, **extra, **wanted)

    def gates(self, pyramid: Tensor) -> Tensor:
        """The gate of each region and layer (B, R, L, 4), Eq. 4, whether it is attended or not."""
        assert self.prefix is not None, "a text-only model has no gate"
        blocks = self.prefix.blocks(pyramid.to(self.dtype))
        return self.prefix.gate(self.prefix.pooled(blocks)).float()

    def attention_to_regions(
        self, input_ids: Tensor, attention_mask: Tensor, pyramid: Tensor, regions: Tensor
    ) -> Tensor:
        """The share of its attention that a token pays to a region's positions (Eq. 9).

        Arguments as of `encode`. Returns (L, B, T, R, hw), the mean over heads; what is missing to
        1 is paid to the text. A region that is not there gets 0 in style paper.
        """
        assert self.prefix is not None, "a text-only model sees no region"
        output = self.encode(input_ids, attention_mask, pyramid, regions, output_attentions=True)
        first = 1 if self.config.variant == ONLY_OBJECTS else 0  # a region that isn't read
        seen = regions.shape[1] - first
        slots = seen * self.prefix.positions
        of_heads = self.prefix.slots_of_heads(slots).to(input_ids.device)
        layers = []
        for weights in output.attentions:
            own = weights[..., :slots].float()  # (B, heads, T, P)
            shares = own.new_zeros(own.shape).scatter_add_(
                3, of_heads[None, :, None].expand_as(own), own
            )
            shares = shares.mean(1).unflatten(-1, (seen, self.prefix.positions))
            layers.append(functional.pad(shares, (0, 0, first, 0)))
        return torch.stack(layers)
