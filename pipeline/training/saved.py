"""The folder of a saved model: load its parts and check that they belong together."""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from features.errors import need_readable
from model.config import ExtractorConfig
from model.encoder import PrefixedEncoder, load_saved
from model.hvpnet.variants import TEXT_ONLY
from pipeline.errors import DataError
from pipeline.training.encode import load_tokenizer
from pipeline.training.head_of import HEADS
from pipeline.training.heads import Head
from pipeline.training.possible import task_of
from pipeline.training.relations import MARKERS
from pipeline.training.vocabulary import check_vocabulary


@dataclass(frozen=True)
class SavedModel:
    """A saved model without its weights, which `load` reads.

    labels: of the head, in the order of their numbers.
    """

    folder: Path
    head: Head
    config: ExtractorConfig
    tokenizer: PreTrainedTokenizerBase
    labels: list[str]

    @classmethod
    def open(cls, folder: Path) -> "SavedModel":
        """Open a folder made by training or ImportReleased. Raises DataError, AccessError."""
        need_readable(folder)
        head = HEADS[task_of(folder)]
        config = ExtractorConfig.from_pretrained(folder)
        tokenizer = load_tokenizer(str(folder), "make the model again")
        _check_tokenizer(tokenizer, config, folder)
        labels = [config.id2label[number] for number in range(config.num_labels)]
        return cls(folder, head, config, tokenizer, labels)

    @property
    def longest(self) -> int:
        """Word pieces of the longest post that is not cut, including special pieces."""
        return int(self.tokenizer.model_max_length)

    @property
    def is_text_only(self) -> bool:
        """True if the model uses no pictures."""
        return bool(self.config.variant == TEXT_ONLY)

    def load(self) -> PrefixedEncoder:
        """Load the model with its weights. Raises EncoderError."""
        return load_saved(self.head.model, self.folder)


def _check_tokenizer(
    tokenizer: PreTrainedTokenizerBase, config: ExtractorConfig, folder: Path
) -> None:
    """Raise DataError unless the tokenizer fits the model's encoder and markers."""
    rows = config.encoder["vocab_size"]
    check_vocabulary(tokenizer, config.encoder_config(), rows, str(folder))
    markers = tuple(config.marker_ids)
    if markers and tuple(tokenizer.convert_tokens_to_ids(list(MARKERS))) != markers:
        raise DataError(
            f"{folder}: expected a tokenizer whose markers have the ids "
            f"{', '.join(map(str, markers))}, found another; make the model again"
        )
