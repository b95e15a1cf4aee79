"""Systems on words: their equations, computed post by post and word by word."""

from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ExtractorConfig
from model.contract import System
from model.systems import model_class
from model.words import LONGEST_WORD, UNKNOWN, CharacterEncoder, WordEncoder, bilstm

IDS = [5, 2, 9, 4]
WORDS = ["a", "bad", "Cab", "?"]  # the last is an unknown character


def make(name: str, task: str, form: str = "") -> System:
    torch.manual_seed(3)
    config = ExtractorConfig(
        system=name,
        form=form,
        variant="text-only",
        words=12,
        characters="abcd",
        id2label=dict(enumerate("wxyz")),
    )
    return model_class(task, name)(config).eval()


def inputs(model: System) -> dict[str, Tensor]:
    """One post beside a longer one, so that it is padded."""
    ids = torch.tensor([[*IDS, 0, 0], [3, 3, 7, 8, 10, 11]])
    posts = [WORDS, ["dab", "dab", "b", "c", "d", "abcdabcd"]]
    given = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    if isinstance(model, CharacterEncoder):
        prepared = [model.prepare(model.config, post, range(len(post))) for post in posts]
        given |= model.collate(prepared)
    return given


def run(lstm: nn.LSTM, sequence: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (T, 2H) of one sequence (T, D), and the last states of both directions (2H,)."""
    outputs, (last, _) = lstm(sequence[None])
    return outputs[0], last[:, 0].flatten()


def spelled(model: CharacterEncoder, word: str) -> Tensor:
    ids = [{"a": 2, "b": 3, "d": 5, "c": 4}.get(c, UNKNOWN) for c in word]
    return model.characters(torch.tensor(ids))


@torch.no_grad()
def test_cnn_bilstm_reads_each_word_by_itself() -> None:
    model = make("cnn-bilstm-crf", "ner")
    convolution = cast(nn.Conv1d, model.convolution)
    rows = []
    for id, word in zip(IDS, WORDS, strict=True):
        border = functional.pad(spelled(cast(CharacterEncoder, model), word).T, (2, 2))
        maps = functional.conv1d(border[None], convolution.weight, convolution.bias).tanh()[0]
        vector = cast(WordEncoder, model).vectors.weight[id]
        rows.append(torch.cat([maps.amax(-1), vector]))
    assert rows[0].shape == (30 + 100,)
    expected = run(cast(nn.LSTM, model.lstm), torch.stack(rows))[0]
    states = model.states(**inputs(model))
    torch.testing.assert_close(states[0, :4], expected)
    assert expected.shape == (4, 400)
    tokens = model.emissions(states[:, :4])  # in evaluation, so without dropout
    torch.testing.assert_close(tokens, model.classifier(states[:, :4]))


@torch.no_grad()
def test_hbilstm_reads_each_word_by_itself() -> None:
    model = make("hbilstm-crf", "ner")
    rows = []
    for id, word in zip(IDS, WORDS, strict=True):
        ends = run(cast(nn.LSTM, model.spelling), spelled(cast(CharacterEncoder, model), word))[1]
        rows.append(torch.cat([cast(WordEncoder, model).vectors.weight[id], ends]))
    assert rows[0].shape == (150,)
    read = run(cast(nn.LSTM, model.lstm), torch.stack(rows))[0]
    expected = cast(nn.Linear, model.last)(read).tanh()
    torch.testing.assert_close(model.states(**inputs(model))[0, :4], expected)


def test_hbilstm_has_no_dropout_before_its_scores() -> None:
    model = make("hbilstm-crf", "ner").train()
    states = torch.randn(2, 3, 100)
    assert torch.equal(model.emissions(states), model.classifier(states))


def test_hbilstm_forgets_half_of_the_words_seen_once_while_training() -> None:
    model = cast(WordEncoder, make("hbilstm-crf", "ner"))
    model.see_once([4, 5])
    ids = torch.tensor([[4, 5, 6]] * 1000)
    torch.manual_seed(1)
    forgotten = model._forgetful(ids) == UNKNOWN
    shares = forgotten.float().mean(0)
    assert shares[2] == 0
    assert ((shares[:2] - 0.5).abs() < 0.06).all()
    given = inputs(model)
    assert torch.equal(model.states(**given), model.states(**given))  # not in evaluation


@pytest.mark.parametrize("form", ["opennre", "zeng"])
@torch.no_grad()
def test_pcnn_takes_the_maximum_of_each_piece(form: str) -> None:
    """The tail comes first: words 0-1; the head is word 3."""
    model = make("pcnn", "re", form)
    given = inputs(model)
    markers = torch.tensor([[3, 0, 3, 1], [2, 1, 2, 1]])
    near, far = (cast(nn.Embedding, rows) for rows in cast(nn.ModuleList, model.distances))
    convolution = cast(nn.Conv1d, model.convolution)
    ids = torch.arange(4) + 128
    vectors = cast(WordEncoder, model).vectors(torch.tensor(IDS))
    words = torch.cat([vectors, near(ids - 3), far(ids - 0)], -1)
    assert words.shape == (4, 60)
    maps = convolution(words.T[None])[0]  # (230, 4)
    empty = torch.zeros(230)
    if form == "opennre":  # pieces: word 0; words 1-3; none
        pieces = [maps[:, :1].amax(-1).relu(), maps[:, 1:].amax(-1).relu(), empty]
    else:  # words 0-1; words 2-3; none
        pieces = [maps[:, :2].amax(-1).tanh(), maps[:, 2:].amax(-1).tanh(), empty]
    found = model.pair(model.states(**given), markers)
    torch.testing.assert_close(found[0], torch.cat(pieces))
    assert model.classifier.in_features == 690


def test_new_vectors_are_uniform_and_given_ones_are_kept() -> None:
    model = cast(WordEncoder, make("pcnn", "re"))
    model.fill({7: np.full(50, 9, np.float32)})
    weight = model.vectors.weight
    assert (weight[7] == 9).all()
    assert (weight[0] == 0).all()
    others = weight[[1, 2, 3, 4, 5, 6, 8, 9]]
    assert 0.9 < others.abs().max() / (3 / 50) ** 0.5 <= 1


def test_the_forget_gates_start_open() -> None:
    biases = {n: b.tolist() for n, b in bilstm(4, 3).named_parameters() if "bias" in n}
    assert biases["bias_ih_l0"] == [0] * 3 + [1] * 3 + [0] * 6
    assert biases["bias_hh_l0_reverse"] == [0] * 12


def test_characters_keep_their_case_and_long_words_are_cut() -> None:
    config = ExtractorConfig(characters="aA")
    words = ["aA", "a" * 60, "é", ""]
    found = CharacterEncoder.prepare(config, words, [0, 1, -1, 2, 3])
    assert found == [[2, 3], [2] * LONGEST_WORD, [UNKNOWN], [UNKNOWN]]
    assert CharacterEncoder.prepare(config, [], [-1]) == [[UNKNOWN]]
