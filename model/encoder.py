"""A stock Hugging Face text encoder: load it, and run it as a part of a system."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from model.config import ExtractorConfig
from model.contract import System
from model.errors import ModelError
from model.groups import ParameterGroup
from model.hvpnet import attention
from model.hvpnet.dropout import quicken

# Encoders that pass the prefix on to each of their layers. Others drop it silently (DeBERTa-v2,
# MPNet) or share the same layer (ALBERT).
ENCODERS = ("bert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta")
VISUAL_BERT = "visual_bert"  # also loaded, for the system visualbert alone
_SETTINGS = {"attn_implementation": attention.NAME, "dtype": "float32"}
# Keys and shapes are checked here: transformers' own error does not name the mismatched weights.
_CHECKED: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
# The names in VisualBERT's original files (.th) -> transformers'. No other encoder has such names.
_ORIGINAL = {
    r"^bert\.bert\.": "visual_bert.",
    r"embeddings\.projection\.": "embeddings.visual_projection.",
    r"embeddings\.(position|token_type)_embeddings_visual\.": r"embeddings.visual_\1_embeddings.",
}
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
            loaded = _load(name)
        model, info = loaded
    except _DAMAGED as error:
        reason = _first_line(error)
        advice = _AGAIN if Path(name).is_dir() else _ELSEWHERE
        raise EncoderError(f"encoder {name!r} can't be loaded ({reason}); {advice}") from error
    if model.config.model_type != VISUAL_BERT:
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
        return _load(name, local_files_only=True)
    except OSError:
        return None


def _load(name: str, **options: Any) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    loaded: tuple[PreTrainedModel, Mapping[str, Any]] = AutoModel.from_pretrained(
        name, key_mapping=_ORIGINAL, **options, **_CHECKED, **_SETTINGS
    )
    if loaded[0].config.model_type == VISUAL_BERT:
        loaded[0].config.pad_token_id = 0  # transformers' default is 1, a piece of the text
    return loaded


def load_saved(kind: type[System], folder: Path) -> System:
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
    for module in model.modules():
        if isinstance(module, nn.LSTM):  # rounds otherwise if its weights lie at odd addresses
            for weight in module.parameters():
                weight.data = weight.data.clone()
    return model


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class TextEncoder(System):
    """A system on a pretrained text encoder, without its head.

    A new model has random weights; `adopt` replaces its encoder by a pretrained one.
    """

    def __init__(self, config: ExtractorConfig) -> None:
        attention.register()
        super().__init__(config)
        encoder_config = config.encoder_config()
        check_encoder(encoder_config)
        self.encoder = AutoModel.from_config(encoder_config, **_SETTINGS)
        self._prepare_encoder()
        self.hidden = encoder_config.hidden_size

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

    def states(self, **inputs: Any) -> Tensor:
        """Return the last hidden states (B, T, H). inputs: as for `read`."""
        return self.read(**inputs).last_hidden_state

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the encoder's group; systems add their own modules."""
        return [ParameterGroup("base", [self.encoder])]

    def read(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        segment_ids: Tensor | None = None,
        **options: Any,
    ) -> BaseModelOutput:
        """Run the text encoder.

        input_ids, attention_mask: (B, T).
        segment_ids: (B, T), 1 for the pieces of the picture's text, else 0; ignored by encoders
            that don't know two segments.
        options: further arguments of the encoder.
        """
        if segment_ids is not None and getattr(self.encoder.config, "type_vocab_size", 0) > 1:
            options["token_type_ids"] = segment_ids
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask, **options)
