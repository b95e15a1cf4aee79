"""CNN-BiLSTM-CRF (Ma and Hovy, End-to-end Sequence Labeling, ACL 2016), as a baseline.

The sizes and the order [characters ; word] are the paper's and its author's code's. The scores are
a linear map and a matrix of transitions, as in later code; the paper has a weight vector for each
pair of tags. Only a word's own characters take part in the maximum, and padding takes part in
nothing; the author's code fills words with a symbol that does.
"""

import torch
from torch import Tensor, nn

from model.config import ExtractorConfig
from model.groups import ParameterGroup
from model.words import PADDING, CharacterEncoder, bilstm, read_all

FILTERS, WINDOW, HIDDEN = 30, 3, 200


class CNNBiLSTM(CharacterEncoder):
    """Words and a convolution of their characters, read by a bidirectional LSTM."""

    tasks = ("ner",)
    reads_pictures = False
    reads_words = True
    prepares = True

    width = 100
    character_width = 30

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        self.before = nn.Dropout(config.dropout)
        # A window at each place that touches the word, as the author's "full" border.
        self.convolution = nn.Conv1d(self.character_width, FILTERS, WINDOW, padding=WINDOW - 1)
        nn.init.xavier_uniform_(self.convolution.weight)
        if self.convolution.bias is not None:
            nn.init.zeros_(self.convolution.bias)
        self.lstm = bilstm(FILTERS + self.word_width, HIDDEN)
        self.hidden = 2 * HIDDEN

    def states(self, input_ids: Tensor, attention_mask: Tensor, characters: Tensor) -> Tensor:
        """Return the LSTM's outputs (B, T, 400)."""
        words = self.vectors(input_ids)
        spelled = words.new_zeros(*input_ids.shape, FILTERS)
        real = attention_mask > 0
        spelled[real] = self._spelled(characters[real]).to(words.dtype)
        both = self.before(torch.cat([spelled, words], -1))
        return read_all(self.lstm, both, attention_mask.sum(1))[0]

    def _spelled(self, characters: Tensor) -> Tensor:
        """Return the maximum over each word's windows (N, F). characters: (N, C)."""
        inputs = self.before(self.characters(characters)).transpose(1, 2)
        windows = self.convolution(inputs).tanh()  # (N, F, C + 2)
        places = torch.arange(windows.shape[-1], device=characters.device)
        lengths = (characters != PADDING).sum(1, keepdim=True) + WINDOW - 1
        outside = (places >= lengths)[:, None]
        return windows.masked_fill(outside, -1.0).amax(-1)  # tanh is larger

    def parameter_groups(self) -> list[ParameterGroup]:
        own = ParameterGroup("base", [self.convolution, self.lstm])
        return [*super().parameter_groups(), own]
