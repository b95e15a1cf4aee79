"""A stock Hugging Face text encoder that takes a visual prefix."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
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

# Encoders that pass the prefix on to each of their layers. Others drop it silently (DeBERTa-v2,
# MPNet) or share the same layer (ALBERT).
ENCODERS = ("bert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta")
_SETTINGS = {"attn_implementation": attention.NAME, "dtype": "float32"}
# Keys and shapes are checked here: transformers' own error does not name the mismatched weights.
_CHECKED: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
# Exceptions of transformers' loaders for files that are missing, cut short or damaged.
_DAMAGED = (
    *(OSError, ValueError, TypeError, RuntimeError, LookupError),
    *(SafetensorError, StrictDataclassError, pickle.UnpicklingError),
)
# Weights that this project does not use: the pooler follows the last hidden state.
_UNUSED = "pooler."
_AGAIN = "fetch its folder again"
_ELSEWHERE = (
    "give the folder of a Hugging Face model with --encoder FOLDER, or go online once so that it "
    "can be downloaded"
)
_LAYERS = ("encoder.layer.", "transformer.layer.", "layers.")  # names of the layers of ENCODERS


class EncoderError(ModelError):
    """A text encoder that cannot be loaded, or cannot take a visual prefix."""


def quiet_transformers() -> None:
    """Hide transformers' warnings and progress bars; errors are still shown."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def check_encoder(config: PreTrainedConfig) -> None:
    """Raise EncoderError unless an encoder of this configuration can take a visual prefix."""
    if config.model_type not in ENCODERS:
        raise EncoderError(
            f"encoder type {config.model_type!r} can't take a visual prefix; "
            f"choose one of: {', '.join(ENCODERS)}"
        )


def load_encoder(name: str, ask_hub: Callable[[str], None]) -> PreTrainedModel:
    """Load a pretrained encoder from a folder or the hub's cache, or download it.

    name: hub name or folder.
    ask_hub: raises OSError within seconds if the hub can't be reached or has no such model;
        without it the loader would retry for a minute.

    Raises EncoderError, in one line with the fix; also if any weight except the pooler's is
    missing, which transformers would initialise at random.
    """
    attention.register()
    try:
        loaded = _from_cache(name)
        if loaded is None:
            if not Path(name).is_dir():
                ask_hub(name)
            loaded = AutoModel.from_pretrained(name, **_CHECKED, **_SETTINGS)
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
    """Raise EncoderError for weights that are missing, of a wrong shape, or of unknown layers."""
    keys = {kind: sorted(map(str, info[f"{kind}_keys"])) for kind in ("missing", "unexpected")}
    missing = [key for key in keys["missing"] if not key.startswith(_UNUSED)]
    if missing:
        raise EncoderError(
            f"encoder {name!r}: {len(missing)} of its weights are missing, such as {missing[0]}; "
            "fetch its folder again, or use the config.json that belongs to its weights"
        )
    if mismatched := sorted(info["mismatched_keys"]):
        key, actual, expected = mismatched[0]
        raise EncoderError(
            f"encoder {name!r}: {len(mismatched)} of its weights have another shape than its "
            f"configuration says, such as {key}: expected {tuple(expected)}, found "
            f"{tuple(actual)}; use the config.json that belongs to its weights"
        )
    surplus = [key for key in keys["unexpected"] if key.startswith(_LAYERS)]
    if surplus:
        raise EncoderError(
            f"encoder {name!r}: its configuration has no place for {len(surplus)} of its weights, "
            f"such as {surplus[0]}; use the config.json that belongs to its weights"
        )


def _check_finite(name: str, model: PreTrainedModel) -> None:
    for key, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise EncoderError(
                f"encoder {name!r}: its weight {key} holds values that are not finite; {_AGAIN}"
            )


def _from_cache(name: str) -> tuple[PreTrainedModel, Mapping[str, Any]] | None:
    """Load the hub's model from this machine's cache; None if it is not completely there."""
    if Path(name).is_dir():
        return None
    try:
        loaded: tuple[PreTrainedModel, Mapping[str, Any]] = AutoModel.from_pretrained(
            name, local_files_only=True, **_CHECKED, **_SETTINGS
        )
        return loaded
    except OSError:
        return None


def load_saved(kind: "type[PrefixedEncoder]", folder: Path) -> "PrefixedEncoder":
    """Load a model of class `kind` from its folder, which must contain all weights.

    Raises EncoderError.
    """
    try:
        model, info = kind.from_pretrained(folder, **_CHECKED)
    except _DAMAGED as error:
        raise EncoderError(
            f"{folder}: expected a saved model, found a damaged one ({_first_line(error)}); "
            "run what made it again"
        ) from error
    # transformers would initialise missing weights at random.
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
    """A text encoder with a visual prefix (unless text-only): the base class of both models.

    A new model has random weights; `adopt` replaces its encoder by a pretrained one.
    """

    config_class = ExtractorConfig
    base_model_prefix = ""
    _supports_sdpa = True
    _supports_attention_backend = True
    # Otherwise the Trainer assumes that the loss is already averaged over accumulated steps.
    accepts_loss_kwargs = False

    def __init__(self, config: ExtractorConfig) -> None:
        attention.register()
        super().__init__(config)
        assert config.variant in VARIANTS, config.variant
        assert config.style in STYLES, config.style
        encoder_config = config.encoder_config()
        check_encoder(encoder_config)
        self.encoder = AutoModel.from_config(encoder_config, **_SETTINGS)
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
        """Replace the random encoder by a pretrained one of the same configuration."""
        self.encoder = encoder
        self._prepare_encoder()

    def _prepare_encoder(self) -> None:
        quicken(self.encoder)
        # The prefix needs each layer's number, which DistilBERT's attention modules lack.
        if self.encoder.config.model_type == "distilbert":
            for number, layer in enumerate(self.encoder.transformer.layer):
                layer.attention.layer_idx = number

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the parameter groups of encoder and prefix; subclasses add their head."""
        return [ParameterGroup("base", [m for m in (self.encoder, self.prefix) if m is not None])]

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing: constructors have initialised the modules already."""

    def states(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pyramid: Tensor | None = None,
        regions: Tensor | None = None,
        segment_ids: Tensor | None = None,
    ) -> Tensor:
        """Return the last hidden states (B, T, H); arguments as for `encode`."""
        output = self.encode(input_ids, attention_mask, pyramid, regions, segment_ids)
        return output.last_hidden_state

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
        if segment_ids is not None and getattr(self.encoder.config, "type_vocab_size", 0) > 1:
            extra["token_type_ids"] = segment_ids
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask, **extra, **outputs)

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
