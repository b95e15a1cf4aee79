"""Configuration of a saved model: the `config.json` of its folder."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from model.hvpnet.variants import AT_MARKERS, HVPNET, PAPER


class ExtractorConfig(PreTrainedConfig):
    """Configuration of both extractors.

    encoder: the text encoder's configuration as a plain dictionary; empty for systems on words.
    system: name in `model/systems.py`.
    form: of those that the system declares; "" if it has one form alone.
    system_digest: hexadecimal SHA-256 of the system's file at training; "" for one without a file.
    style, variant: names in `model/hvpnet/variants.py`.
    block_channels: channels of the pyramid's four blocks.
    grid: side of the pyramid's maps, in cells.
    bottleneck: inner width of the visual map in style released.
    pyramids: the settings that made the pyramids of the training data.
    knowledge_tokens: most word pieces of a picture text behind the sentence; 0: reads none.
    texts: the settings that made the picture texts of the training data.
    dropout: rate before the head.
    words: for systems on words, the number of rows of their table.
    word_width: width of given word vectors; 0: the system's own.
    characters: those that a system on characters knows, in the order of their ids.
    marker_ids: token ids of the four entity markers.
    relation_head: states that the relation classifier reads; folders without this field read the
        markers.

    Labels are in transformers' own `id2label`.
    """

    model_type = "hvpnet"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        system: str = HVPNET,
        form: str = "",
        system_digest: str = "",
        style: str = PAPER,
        variant: str = HVPNET,
        block_channels: tuple[int, ...] = (256, 512, 1024, 2048),
        grid: int = 2,
        bottleneck: int = 800,
        pyramids: dict[str, Any] | None = None,
        knowledge_tokens: int = 0,
        texts: dict[str, Any] | None = None,
        dropout: float = 0.1,
        words: int = 0,
        word_width: int = 0,
        characters: str = "",
        marker_ids: tuple[int, ...] = (),
        relation_head: str = AT_MARKERS,
        **others: Any,
    ) -> None:
        self.encoder = encoder or {}
        self.system = system
        self.form = form
        self.system_digest = system_digest
        self.style = style
        self.variant = variant
        self.block_channels = list(block_channels)
        self.grid = grid
        self.bottleneck = bottleneck
        self.pyramids = pyramids or {}
        self.knowledge_tokens = knowledge_tokens
        self.texts = texts or {}
        self.dropout = dropout
        self.words = words
        self.word_width = word_width
        self.characters = characters
        self.marker_ids = list(marker_ids)
        self.relation_head = relation_head
        super().__init__(**others)

    def encoder_config(self) -> PreTrainedConfig:
        """Return the text encoder's configuration as a transformers object."""
        fields = dict(self.encoder)
        return AutoConfig.for_model(fields.pop("model_type"), **fields)
