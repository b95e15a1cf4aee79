"""HBiLSTM-CRF (Lample et al., Neural Architectures for NER, NAACL 2016), as a baseline.

The sizes, the dropout and the layer before the scores are the paper's. The LSTMs have their own
forget gates, as in every later form; the paper couples them to the input gates. Words are lower
case here, and a character that no training word has is the unknown one; the author's code looks
words up as they are first, and skips such characters.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.config import ExtractorConfig
from model.groups import ParameterGroup
from model.words import PADDING, UNKNOWN, CharacterEncoder, bilstm, read_all

SPELLED, HIDDEN, LAST = 25, 100, 100
FORGOTTEN = 0.5  # share of the words seen once that are unknown in a training step


class HBiLSTM(CharacterEncoder):
    """Words and an LSTM over their characters, read by another LSTM."""

    tasks = ("ner",)
    reads_pictures = False
    reads_words = True
    prepares = True

    width = 100
    character_width = 25

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        self.spelling = bilstm(self.character_width, SPELLED)
        self.before = nn.Dropout(config.dropout)
        self.lstm = bilstm(self.word_width + 2 * SPELLED, HIDDEN)
        self.last = nn.Linear(2 * HIDDEN, LAST)
        self.hidden = LAST
        self.once: list[int] = []

    def see_once(self, ids: Sequence[int]) -> None:
        self.once = [*ids]

    def states(self, input_ids: Tensor, attention_mask: Tensor, characters: Tensor) -> Tensor:
        """Return the states before the scores (B, T, 100)."""
        words = self.vectors(self._forgetful(input_ids) if self.training else input_ids)
        spelled = words.new_zeros(*input_ids.shape, 2 * SPELLED)
        real = attention_mask > 0
        own = characters[real]  # (N, C)
        lengths = (own != PADDING).sum(1)
        spelled[real] = read_all(self.spelling, self.characters(own), lengths)[1].to(words.dtype)
        both = self.before(torch.cat([words, spelled], -1))
        read = read_all(self.lstm, both, attention_mask.sum(1))[0]
        return self.last(read).tanh()

    def _forgetful(self, input_ids: Tensor) -> Tensor:
        """Return the ids with half of the words seen once replaced by the unknown word."""
        once = torch.isin(input_ids, torch.tensor(self.once, device=input_ids.device))
        drawn = torch.rand(input_ids.shape, device=input_ids.device) < FORGOTTEN
        return input_ids.masked_fill(once & drawn, UNKNOWN)

    def emissions(self, tokens: Tensor) -> Tensor:
        """Return the scores of the tags, without dropout before them."""
        scores: Tensor = self.classifier(tokens)
        return scores

    def parameter_groups(self) -> list[ParameterGroup]:
        own = ParameterGroup("base", [self.spelling, self.lstm, self.last])
        return [*super().parameter_groups(), own]
