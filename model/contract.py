"""The contract of a system: what it reads, and what it gives to the heads of the two tasks.

A system is a file in `model/zoo/`, or in the folder that the environment variable HVPNET_SYSTEMS
names, with one subclass of `System` or `TextEncoder`; its name is the file's, with "-" for "_". It
turns a batch into a state for each token. The heads in `ner.py` and `relation.py` do the rest: the
CRF over the states of words, and the classifier of the joined states of two entities. A system may
replace the step between its states and their scores, and may add a loss. Example, a BERT whose
words also see the mean of the picture's last block:

    class PictureWords(TextEncoder):
        def __init__(self, config):
            super().__init__(config)
            self.project = nn.Linear(config.block_channels[-1], self.hidden)

        def states(self, input_ids, attention_mask, pyramid, regions, segment_ids=None):
            states = self.read(input_ids, attention_mask, segment_ids).last_hidden_state
            last = pyramid[:, 0, -self.config.block_channels[-1]:].mean((-1, -2))  # (B, C)
            return states + self.project(last.to(states.dtype))[:, None]

        def parameter_groups(self):
            return [*super().parameter_groups(), ParameterGroup("base", [self.project])]

Axes: B posts, T tokens, W words, H width of a state, K tags or relations, R regions.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model.config import ExtractorConfig
from model.groups import ParameterGroup
from model.hvpnet.variants import AT_CLS


class System(PreTrainedModel):
    """A system without its head, from which the model of a task is derived.

    All but `task` and `hidden` are literals in a system's file, as they are read without importing
    it.

    tasks: those that it is made for.
    reads_pictures: True if `states` reads `pyramid` (B, R, ΣC, h, w) and `regions` (B, R).
    markers: pieces of the encoder's vocabulary that mark head and tail (opening and closing marker
        of each); (): four new pieces.
    reads_words: True if its tokens are words instead of word pieces, without special pieces and
        markers: a `WordEncoder` of `model/words.py`. The classifier of relations then gets the
        places (B, 4) of the first words of head and tail, and of their last words.
    reads_texts: True if it always reads the pictures' texts, as `--knowledge` makes others do; by
        default the names of the grounded objects.
    prepares: True if it reads something else that is made from a post's words: see `prepare`.
    parses: True if `prepare` needs the edges of the sentences' dependency trees.
    tags_pieces: True if the CRF tags every piece, with the labels PAD, X (a later piece of a word),
        [CLS] and [SEP] beside the tags; False if it tags words, at their first piece.
    forms: names of the system's forms, the usual one first; `config.form` is the one chosen.
    untrained: starts of the names of parameters that get no gradient, as in the published network.
    task: of the model, "ner" or "re"; the head's.
    hidden: H, set by the constructor.
    """

    config_class = ExtractorConfig
    base_model_prefix = ""
    _supports_sdpa = True
    _supports_attention_backend = True
    # Otherwise the Trainer assumes that the loss is already averaged over accumulated steps.
    accepts_loss_kwargs = False

    tasks: ClassVar[tuple[str, ...]] = ("ner", "re")
    reads_pictures: ClassVar[bool] = True
    markers: ClassVar[tuple[str, ...]] = ()
    reads_words: ClassVar[bool] = False
    reads_texts: ClassVar[bool] = False
    prepares: ClassVar[bool] = False
    parses: ClassVar[bool] = False
    tags_pieces: ClassVar[bool] = False
    forms: ClassVar[tuple[str, ...]] = ()
    untrained: ClassVar[tuple[str, ...]] = ()
    task: ClassVar[str]
    hidden: int
    # Made by the head.
    dropout: nn.Dropout
    classifier: nn.Linear

    @classmethod
    def prepare(
        cls,
        config: ExtractorConfig,
        words: Sequence[str],
        owners: Sequence[int],
        edges: Sequence[tuple[int, int]] = (),
    ) -> Any:
        """Return what the system reads of a post beside its tokens, for `collate`.

        words: of the sentence. owners: the number of each token's word; -1 for special pieces.
        edges: numbers of words and of their dependents; () unless the system declares `parses`.
        """
        raise NotImplementedError

    @classmethod
    def collate(cls, prepared: Sequence[Any]) -> dict[str, Tensor]:
        """Return the tensors of a batch, inputs of `states`, from what `prepare` returned."""
        raise NotImplementedError

    def states(self, *_: Any, **inputs: Any) -> Tensor:
        """Return the tokens' states (B, T, H).

        inputs: the batch but for the head's own part (words or markers, and labels): `input_ids`
            and `attention_mask` (B, T); `pyramid` and `regions` if it reads pictures; `segment_ids`
            (B, T) in a batch with picture texts; the tensors of `collate`.
        """
        raise NotImplementedError

    def emissions(self, tokens: Tensor) -> Tensor:
        """Return the scores (B, W, K) of the tags. tokens: (B, W, H), the states of the words."""
        scores: Tensor = self.classifier(self.dropout(tokens))
        return scores

    @property
    def emission_width(self) -> int:
        """The width of what the classifier of entities reads: H, unless `emissions` differs."""
        return self.hidden

    def pair(self, states: Tensor, markers: Tensor) -> Tensor:
        """Return what the relation classifier reads (B, D), of D = `pair_width`.

        By default the joined states of both opening markers, or of the first words of head and tail
        if it reads words; the first token's state with `relation_head` "cls". markers: (B, 2), the
        markers' places, or (B, 4), see `reads_words`.
        """
        if self.config.relation_head == AT_CLS:
            return states[:, 0]
        rows = torch.arange(len(states), device=states.device)[:, None]
        return states[rows, markers[:, :2]].flatten(1)

    @property
    def pair_width(self) -> int:
        """D, the width of `pair`."""
        return self.hidden if self.config.relation_head == AT_CLS else 2 * self.hidden

    def extra_loss(self, tokens: Tensor, labels: Tensor, mask: Tensor) -> Tensor | None:
        """Return a loss to add to that of the main CRF; None for none.

        tokens: (B, W, H). labels: (B, W), 0 for padding. mask: (B, W) bool, False for padding.
        """
        return None

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the groups of its own parameters; the head adds its group."""
        raise NotImplementedError

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing: constructors have initialised the modules already."""
