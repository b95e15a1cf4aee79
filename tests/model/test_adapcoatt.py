"""AdapCoAtt against the paper's equations, term by term, each word with attention of its own."""

import pytest
import torch
from torch import Tensor, nn

from model.systems import model_class
from model.zoo.adapcoatt import AdapCoAtt, Attention
from tests.model.test_systems import PIECE_LABELS, answer, batch, make
from tests.tiny import CHANNELS, extractor_config

WIDTH = 32
LENGTHS = (7, 5)


def model() -> AdapCoAtt:
    """A tiny model in eval mode."""
    made = make("adapcoatt", "ner")
    assert isinstance(made, AdapCoAtt)
    return made


def all_terms(part: Attention, word: Tensor, others: Tensor) -> Tensor:
    """The paper's attention of a word (H) to others (N, H), with the terms that we leave out.

    These are drawn at random: the word's own map with its bias, its half of the scores' weights,
    and the scores' bias.
    """
    torch.manual_seed(7)
    of_word, half, bias = nn.Linear(WIDTH, WIDTH), torch.randn(WIDTH), torch.randn(())
    weights = torch.cat([part.score.weight[0], half])
    scores = []
    for other in others:
        joined = torch.cat([part.inner.weight @ other, of_word(word)]).tanh()
        scores.append(weights @ joined + bias)
    shares = torch.stack(scores).softmax(0)
    return sum(share * other for share, other in zip(shares, others, strict=True))


@torch.no_grad()
def test_emissions_are_those_of_the_paper() -> None:
    m, given = model(), batch("adapcoatt", "ner")
    text = {name: given[name] for name in ("input_ids", "attention_mask")}
    expected = []
    for post, length in enumerate(LENGTHS):
        words = m.encoder(**text).last_hidden_state[post, :length]
        last = given["pyramid"][post, 0, -CHANNELS[-1] :]
        cells = [last[:, row, column] for row in range(2) for column in range(2)]
        regions = torch.stack([m.regions(cell).tanh() for cell in cells])
        for word in words:
            seen = all_terms(m.visual_attention, word, regions)
            read = all_terms(m.textual_attention, seen, words)
            a, b = m.fuse_picture(seen).tanh(), m.fuse_text(read).tanh()
            g = m.fusion_gate(torch.cat([a, b])).sigmoid()
            fused = g * a + (1 - g) * b
            s = m.filter_gate(torch.cat([m.filter_text(word), m.filter_fused(fused)])).sigmoid()
            kept = s * m.reserve(fused).tanh()
            expected.append(m.classifier(torch.cat([word, kept])))
    torch.testing.assert_close(answer(m, given), torch.stack(expected))


@torch.no_grad()
def test_what_a_word_attends_to_does_not_depend_on_it() -> None:
    part = Attention(WIDTH)
    words, regions = torch.randn(3, WIDTH), torch.randn(4, WIDTH)
    ours = part(regions[None])[0]
    assert not torch.allclose(ours, regions.mean(0))  # the shares differ
    for word in words:
        torch.testing.assert_close(all_terms(part, word, regions), ours)


def test_every_weight_gets_a_gradient_beyond_rounding() -> None:
    m = model()
    m(**batch("adapcoatt", "ner")).loss.backward()
    own = {n: p for n, p in m.named_parameters() if not n.startswith("encoder.")}
    assert {n for n, p in own.items() if p.grad is None or p.grad.abs().max() < 1e-6} == set()


@torch.no_grad()
def test_a_missing_picture_is_an_all_zero_map_and_crops_are_not_read() -> None:
    m, given = model(), batch("adapcoatt", "ner")
    zero, missing, crops = dict(given), dict(given), dict(given)
    zero["pyramid"] = given["pyramid"].clone()
    zero["pyramid"][1] = 0
    missing["regions"] = torch.tensor([[True] * 4, [False] * 4])
    assert torch.equal(answer(m, missing), answer(m, zero))
    assert not torch.allclose(answer(m, given), answer(m, zero))
    crops["pyramid"] = torch.randn_like(given["pyramid"])
    crops["pyramid"][:, 0, -CHANNELS[-1] :] = given["pyramid"][:, 0, -CHANNELS[-1] :]
    assert torch.equal(answer(m, crops), answer(m, given))


def test_dropout_is_before_the_states_and_not_before_the_classifier() -> None:
    m, given = model(), batch("adapcoatt", "ner")
    m.dropout.train()
    inputs = {name: tensor for name, tensor in given.items() if name not in ("words", "labels")}
    first, second = (m.states(**inputs) for _ in range(2))
    assert not torch.allclose(first, second)
    assert torch.equal(m.emissions(first), m.emissions(first))


@pytest.mark.parametrize("kind", ["distilbert", "modernbert"])
@pytest.mark.parametrize("grid", [1, 7])
def test_any_encoder_and_any_grid_fits(kind: str, grid: int) -> None:
    config = extractor_config(kind)
    config.system, config.id2label = "adapcoatt", dict(enumerate(PIECE_LABELS))
    given = batch("adapcoatt", "ner")
    given["pyramid"] = torch.randn(2, 4, sum(CHANNELS), grid, grid)
    assert answer(model_class("ner", "adapcoatt")(config).eval(), given).isfinite().all()
