"""What a saved model needs to know about itself: the `config.json` of a model folder."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

VARIANTS = ("hvpnet", "text-only")


class ExtractorConfig(PreTrainedConfig):
    """Configuration of both extractors.

    `encoder` is the text encoder's own configuration as a plain dictionary, `block_channels` the
    channels of the pyramid's four blocks, `grid` its side, `dropout` acts before the head, and
    `variant` is one of `VARIANTS`. Labels live in the usual `id2label`.
    """

    model_type = "hvpnet"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        variant: str = "hvpnet",
        block_channels: tuple[int, ...] = (256, 512, 1024, 2048),
        grid: int = 2,
        dropout: float = 0.1,
        marker_ids: tuple[int, ...] = (),
        **others: Any,
    ) -> None:
        self.encoder = encoder or {}
        self.variant = variant
        self.block_channels = list(block_channels)
        self.grid = grid
        self.dropout = dropout
        self.marker_ids = list(marker_ids)
        super().__init__(**others)

    def encoder_config(self) -> PreTrainedConfig:
        """The text encoder's configuration as transformers' own object."""
        fields = dict(self.encoder)
        return AutoConfig.for_model(fields.pop("model_type"), **fields)
