"""Test each equation against an independent answer, and the properties of the models."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from model.encoder import (
    ENCODERS,
    EncoderError,
    check_encoder,
    load_encoder,
    load_saved,
)
from model.hvpnet.attention import NAME, visual_prefix_attention
from model.hvpnet.gate import Gate, mix
from model.hvpnet.prefix import VisualPrefix
from model.hvpnet.prefixed import PrefixedEncoder
from model.hvpnet.variants import AT_CLS, AT_MARKERS, STYLES
from model.ner import IGNORED, EntityTagger
from model.relation import RelationExtractor
from tests.tiny import CHANNELS, encoder_config, extractor_config, picture_batch, text_batch


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def visual_prefix(
    layers: int = 2, hidden: int = 8, heads: int = 2, style: str = "paper", variant: str = "hvpnet"
) -> Any:
    return VisualPrefix(list(CHANNELS), 2, layers, hidden, heads, style, variant, bottleneck=5)


def relation_model(kind: str = "bert") -> RelationExtractor:
    return RelationExtractor(extractor_config(kind)).eval()


# --- the equations


def test_gate_as_a_plain_loop() -> None:
    layers, hidden = 3, 5
    prefix = visual_prefix(layers=layers, hidden=hidden, heads=1)
    gate = prefix.gate
    blocks = torch.randn(2, 3, 4, 6, hidden)  # (B, R, 4, hw, H)
    mixed = mix(gate(prefix.pooled(blocks)), blocks)
    weight = gate.mlp.weight.view(layers, 4, hidden)
    bias = gate.mlp.bias.view(layers, 4)
    for layer, b, r in itertools.product(range(layers), range(2), range(3)):
        pooled = torch.stack([blocks[b, r, c].mean(0) for c in range(4)]).sum(0) / 4
        alpha = [(weight[layer, c] @ pooled + bias[layer, c]).item() for c in range(4)]
        alpha = [a if a > 0 else 0.01 * a for a in alpha]
        total = sum(math.exp(a) for a in alpha)
        expected = sum(math.exp(alpha[c]) / total * blocks[b, r, c] for c in range(4))
        torch.testing.assert_close(mixed[layer, b, r], expected)


def test_gate_weights_sum_to_one_over_blocks() -> None:
    weights = Gate(3, 5)(torch.randn(2, 3, 5))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 3))


def test_prefix_of_one_slot_by_hand() -> None:
    prefix = visual_prefix(layers=2, hidden=8, heads=2)
    pyramid = torch.randn(1, 3, sum(CHANNELS), 2, 2)
    answer = torch.stack(prefix(pyramid))
    assert answer.shape == (2, 2, 1, 2, 12, 4)  # (L, key|value, B, heads, P, H / heads)
    layer, region, row, column = 1, 2, 1, 0
    starts = [0, *itertools.accumulate(CHANNELS)]
    mapped = [
        torch.stack(
            [
                conv(pyramid[0, region, starts[c] : starts[c + 1], y, x])
                for y in range(2)
                for x in range(2)
            ]
        )
        for c, conv in enumerate(prefix.conv)
    ]  # Eq. 1, 2
    blocks = torch.stack(mapped)[None, None]
    position = 2 * row + column
    mixed = mix(prefix.gate(prefix.pooled(blocks)), blocks)[layer, 0, 0, position]
    keys_values = prefix.phi[layer](mixed)
    slot = region * 4 + position
    torch.testing.assert_close(answer[layer, 0, 0, :, slot].flatten(), keys_values[:8])
    torch.testing.assert_close(answer[layer, 1, 0, :, slot].flatten(), keys_values[8:])


def test_attention_as_a_plain_softmax() -> None:
    module: Any = torch.nn.Module()
    module.layer_idx, module.is_causal = 1, False
    query, key, value = torch.randn(3, 2, 2, 5, 4)  # (B, heads, T, D)
    prefix = torch.randn(2, 2, 2, 2, 3, 4)  # (L, 2, B, heads, P, D)
    prefix_mask = torch.tensor([[True, True, True], [True, False, False]])
    text_mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    output, weights = visual_prefix_attention(
        module,
        query,
        key,
        value,
        text_mask[:, None, None, :].expand(2, 1, 5, 5),
        prefix=prefix.unbind(),
        prefix_mask=prefix_mask,
        output_attentions=True,
        scaling=0.5,
    )
    assert weights is not None
    for b, h, t in itertools.product(range(2), range(2), range(5)):
        keys = torch.cat((prefix[1, 0, b, h][prefix_mask[b]], key[b, h][text_mask[b]]))
        values = torch.cat((prefix[1, 1, b, h][prefix_mask[b]], value[b, h][text_mask[b]]))
        expected = (keys @ query[b, h, t] * 0.5).softmax(0)  # Eq. 9
        torch.testing.assert_close(output[b, t, h], expected @ values)
        attended = torch.cat((prefix_mask[b], text_mask[b]))
        torch.testing.assert_close(weights[b, h, t][attended], expected)
        assert not weights[b, h, t][~attended].any()


def test_attention_drops_weights_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = torch.nn.Module()
    module.layer_idx, module.is_causal = 0, False
    query, key, value = torch.randn(3, 2, 2, 5, 4)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])[:, None, None]
    arguments = (module, query, key, value, mask.expand(2, 1, 5, 5))
    whole, _ = visual_prefix_attention(*arguments)
    draws = [visual_prefix_attention(*arguments, dropout=0.3)[0] for _ in range(4000)]
    assert not torch.equal(draws[0], draws[1])
    torch.testing.assert_close(torch.stack(draws).mean(0), whole, atol=0.1, rtol=0)
    monkeypatch.setattr("model.hvpnet.attention.drop", lambda weights, p: weights)
    torch.testing.assert_close(visual_prefix_attention(*arguments, dropout=0.3)[0], whole)


def test_slots_of_absent_regions_are_masked() -> None:
    regions = torch.tensor([[True, False]])
    assert visual_prefix().slot_mask(regions).tolist() == [[True] * 4 + [False] * 4]
    assert visual_prefix(style="released").slot_mask(regions).tolist() == [[True] * 8]


def test_released_prefix_of_one_slot_by_hand() -> None:
    prefix = visual_prefix(style="released")  # hidden 8, 2 heads, 2 layers
    pyramid = torch.randn(1, 4, sum(CHANNELS), 2, 2)
    answer = torch.stack(prefix(pyramid))
    region, position, layer = 2, 1, 1
    unit = sum(CHANNELS)  # numbers of a position: a quarter of the channels, four cells each
    pieces = [
        prefix.map(pyramid[0, region].flatten()[p * unit : (p + 1) * unit]).view(4, 16)
        for p in range(4)
    ]
    pooled = torch.cat([piece.mean(0) for piece in pieces])
    alpha = torch.nn.functional.leaky_relu(prefix.gate.mlp(pooled)).view(2, 4)[layer]
    mixed = alpha.softmax(0) @ pieces[position]
    # Each of the sixteen slots has two halves of a key; heads take them in the order of memory.
    for half in range(2):
        number = 2 * (4 * region + position) + half
        head, slot = divmod(number, 16)
        cut = slice(4 * half, 4 * half + 4)
        torch.testing.assert_close(answer[layer, 0, 0, head, slot], mixed[:8][cut])
        torch.testing.assert_close(answer[layer, 1, 0, head, slot], mixed[8:][cut])


# --- the paper's variants


def moved_blocks(variant: str) -> list[list[int]]:
    """Return for each of twelve layers the blocks that change its prefix."""
    prefix = visual_prefix(layers=12, variant=variant)
    pyramid = torch.randn(1, 2, sum(CHANNELS), 2, 2)
    before = prefix(pyramid)
    moved: list[list[int]] = [[] for _ in range(12)]
    for block, start in enumerate([0, *itertools.accumulate(CHANNELS)][:4]):
        changed = pyramid.clone()
        changed[:, :, start] += 1
        for layer, (after, original) in enumerate(zip(prefix(changed), before, strict=True)):
            moved[layer] += [block] * (not torch.equal(after, original))
    return moved


def test_flat_sees_the_last_block_only() -> None:
    assert moved_blocks("flat") == [[3]] * 12


def test_1t3_gives_each_block_to_three_layers() -> None:
    assert moved_blocks("1t3") == [[0]] * 3 + [[1]] * 3 + [[2]] * 3 + [[3]] * 3


def test_hvpnet_lets_every_layer_see_every_block() -> None:
    assert moved_blocks("hvpnet") == [[0, 1, 2, 3]] * 12


@pytest.mark.parametrize("style", STYLES)
def test_only_objects_sees_the_crops_and_not_the_picture(style: str) -> None:
    model = RelationExtractor(extractor_config(variant="only-objects", style=style)).eval()
    text, pictures = text_batch(), picture_batch()
    pictures["regions"][:] = True
    before = model.states(**text, **pictures)
    pictures["pyramid"][:, 0] += 1
    torch.testing.assert_close(model.states(**text, **pictures), before, rtol=0, atol=0)
    pictures["pyramid"][:, 1] += 1
    assert not torch.allclose(model.states(**text, **pictures), before)


# --- properties of the models


@pytest.mark.parametrize("kind", ENCODERS)
def test_masked_prefix_leaves_the_encoder_as_it_was(kind: str) -> None:
    model, text, pictures = relation_model(kind), text_batch(), picture_batch()
    pictures["regions"][:] = False
    plain = AutoModel.from_config(encoder_config(kind), attn_implementation="sdpa").eval()
    plain.load_state_dict(model.encoder.state_dict())
    real = text["attention_mask"].bool()
    torch.testing.assert_close(
        model.states(**text, **pictures)[real], plain(**text).last_hidden_state[real]
    )


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_layer_attends_its_prefix(kind: str) -> None:
    model, text, pictures = relation_model(kind), text_batch(), picture_batch()
    assert model.prefix is not None
    loss = model.states(**text, **pictures).square().sum()
    torch.autograd.backward(loss)
    for phi in model.prefix.phi.children():
        [weight] = phi.parameters()
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0
    gate = next(model.prefix.gate.parameters()).grad
    assert gate is not None
    assert (gate.unflatten(0, (-1, 4)).abs().sum((1, 2)) > 0).all()  # for each layer


@pytest.mark.parametrize("kind", ENCODERS)
def test_order_of_the_regions_changes_nothing(kind: str) -> None:
    model, text, pictures = relation_model(kind), text_batch(), picture_batch()
    turned = {name: tensor[:, [2, 0, 3, 1]] for name, tensor in pictures.items()}
    torch.testing.assert_close(
        model.states(**text, **turned), model.states(**text, **pictures), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("kind", ENCODERS)
def test_one_post_alone_equals_the_same_in_a_batch(kind: str) -> None:
    model, text, pictures = relation_model(kind), text_batch(), picture_batch()
    alone = model.states(
        input_ids=text["input_ids"][1:, :5],
        attention_mask=text["attention_mask"][1:, :5],
        pyramid=pictures["pyramid"][1:, :2],
        regions=pictures["regions"][1:, :2],
    )
    together = model.states(**text, **pictures)[1:, :5]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["deberta-v2", "albert", "mpnet"])
def test_encoders_that_cannot_take_a_prefix_are_refused(kind: str) -> None:
    with pytest.raises(EncoderError, match=f"'{kind}' can't take.*distilbert"):
        check_encoder(encoder_config(kind))


def test_attention_that_drops_the_prefix_is_refused() -> None:
    model: Any = relation_model()
    model.encoder.set_attn_implementation("eager")
    with pytest.raises(EncoderError, match="drops the prefix"):
        model.states(**text_batch(), **picture_batch())


def no_hub(name: str) -> None:
    raise OSError("no network")


def test_without_a_network_nothing_is_tried_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader, which retries for a minute, is not called for a name outside the cache."""
    offline: list[bool] = []

    def loader(name: str, local_files_only: bool = False, **others: Any) -> None:
        offline.append(local_files_only)
        raise OSError("not in the cache")

    monkeypatch.setattr(AutoModel, "from_pretrained", loader)
    with pytest.raises(EncoderError, match=r"'some/encoder' can't be loaded \(no network\)"):
        load_encoder("some/encoder", no_hub)
    assert offline == [True]


def test_missing_encoder_is_one_line_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="--encoder FOLDER") as raised:
        load_encoder(str(tmp_path / "nowhere"), no_hub)
    assert "\n" not in str(raised.value)


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    AutoModel.from_config(encoder_config()).half().save_pretrained(tmp_path)
    assert load_encoder(str(tmp_path), no_hub).dtype == torch.float32


def test_text_only_has_no_prefix_and_needs_no_picture() -> None:
    model = RelationExtractor(extractor_config(variant="text-only")).eval()
    assert not any("prefix" in name for name in model.state_dict())
    assert model.states(**text_batch()).shape == (2, 7, 32)


# --- heads


def test_relation_logits_read_the_opening_markers() -> None:
    model, text, pictures = relation_model(), text_batch(), picture_batch()
    labels = torch.tensor([2, 0])
    answer = model(**text, markers=torch.tensor([[1, 3], [4, 2]]), **pictures, labels=labels)
    states = model.states(**text, **pictures)
    pair = torch.stack(
        [torch.cat((states[0, 1], states[0, 3])), torch.cat((states[1, 4], states[1, 2]))]
    )
    expected = pair @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(answer.logits, expected)
    expected_loss = -expected.log_softmax(1)[[0, 1], labels].mean()
    torch.testing.assert_close(answer.loss, expected_loss)


def test_relation_head_cls_reads_the_first_token_alone() -> None:
    config = extractor_config()
    config.relation_head = AT_CLS
    model = RelationExtractor(config).eval()
    assert model.classifier.weight.shape == (3, 32)
    batch = {**text_batch(), **picture_batch()}
    states = model.states(**batch)
    first, second = (
        model(**batch, markers=torch.tensor(places)).logits
        for places in ([[1, 3], [2, 4]], [[4, 2], [0, 1]])
    )
    assert torch.equal(first, second)
    torch.testing.assert_close(first, model.classifier(states[:, 0]))


def test_models_without_a_saved_relation_head_read_the_markers(tmp_path: Path) -> None:
    model = relation_model()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["relation_head"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_saved(RelationExtractor, tmp_path)
    assert loaded.config.relation_head == AT_MARKERS
    assert torch.equal(loaded.classifier.weight, model.classifier.weight)


def brute_force(tagger: EntityTagger, emissions: Tensor) -> dict[tuple[int, ...], float]:
    """Score every tag sequence of emissions (W, K)."""
    crf = tagger.crf
    scores = {}
    for tags in itertools.product(range(emissions.shape[1]), repeat=len(emissions)):
        score = crf.start_transitions[tags[0]] + crf.end_transitions[tags[-1]]
        score += sum(emissions[n, tag] for n, tag in enumerate(tags))
        score += sum(crf.transitions[a, b] for a, b in itertools.pairwise(tags))
        scores[tags] = score.item()
    return scores


def test_crf_loss_and_tags_by_brute_force() -> None:
    tagger = EntityTagger(extractor_config()).eval()
    torch.nn.init.normal_(tagger.crf.transitions)
    words = torch.tensor([[1, 2, 4], [1, 3, -1]])
    labels = torch.tensor([[0, 2, 1], [1, 1, IGNORED]])
    answer = tagger(**text_batch(), words=words, **picture_batch(), labels=labels)
    losses = []
    for row, length in ((0, 3), (1, 2)):
        scores = brute_force(tagger, answer.emissions[row, :length])
        best = max(scores, key=lambda tags: scores[tags])
        assert answer.tags[row].tolist() == [*best, *[IGNORED] * (3 - length)]
        total = math.log(sum(math.exp(score) for score in scores.values()))
        losses.append(total - scores[tuple(labels[row, :length].tolist())])
    assert answer.loss.item() == pytest.approx(sum(losses) / 2, rel=1e-5)


def test_emissions_are_of_the_first_pieces() -> None:
    tagger = EntityTagger(extractor_config()).eval()
    text, pictures = text_batch(), picture_batch()
    answer = tagger(**text, words=torch.tensor([[1, 5], [2, -1]]), **pictures)
    expected = tagger.classifier(tagger.states(**text, **pictures)[0, [1, 5]])
    torch.testing.assert_close(answer.emissions[0], expected)


@pytest.mark.parametrize("variant", ["hvpnet", "flat", "1t3", "only-objects"])
@pytest.mark.parametrize("kind", [RelationExtractor, EntityTagger])
def test_saved_model_loads_and_answers_the_same(
    kind: type[PrefixedEncoder], variant: str, tmp_path: Path
) -> None:
    model = kind(extractor_config(variant=variant)).eval()
    model.save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path).eval()
    assert loaded.encoder.config._attn_implementation == NAME
    torch.testing.assert_close(
        loaded.states(**text_batch(), **picture_batch()),
        model.states(**text_batch(), **picture_batch()),
        rtol=0,
        atol=0,
    )
    assert loaded.config.id2label == model.config.id2label


@pytest.mark.parametrize("style", STYLES)
def test_slots_of_heads_are_those_of_their_keys(style: str) -> None:
    prefix = VisualPrefix([4, 8, 16, 32], 2, 3, 32, 4, style, "hvpnet", 16)
    slots = 3 * prefix.positions
    states = (
        torch.arange(slots).float()[None, :, None].expand(1, slots, 64)
    )  # the number of each slot
    keys, values = prefix.split_heads(states.contiguous())
    expected = prefix.slots_of_heads(slots).float()[..., None].expand(*keys.shape[1:])
    assert torch.equal(keys[0], expected)
    assert torch.equal(values[0], expected)


@pytest.mark.parametrize("variant", ["hvpnet", "only-objects"])
@pytest.mark.parametrize("style", STYLES)
def test_attention_to_regions_is_the_weights_on_their_slots(style: str, variant: str) -> None:
    model = EntityTagger(extractor_config(variant=variant, style=style)).eval()
    batch = {**text_batch(), **picture_batch()}
    shares = model.attention_to_regions(**batch)
    weights = torch.stack(model.encode(**batch, output_attentions=True).attentions)
    first = 1 if variant == "only-objects" else 0
    slots = (4 - first) * 4
    assert shares.shape == (3, 2, 7, 4, 4)
    assert torch.allclose(shares.sum((-1, -2)), weights[..., :slots].sum(-1).mean(2), atol=1e-6)
    assert first == 0 or shares[..., 0, :].abs().max() == 0
    if style == "paper":  # a slot is the same for all heads
        assert torch.allclose(shares.flatten(3)[..., 4 * first :], weights[..., :slots].mean(2))
        assert shares[:, 1, :, 2:].abs().max() == 0  # missing regions


def test_gates_are_those_that_mix_the_blocks() -> None:
    model = EntityTagger(extractor_config()).eval()
    pyramid = picture_batch()["pyramid"]
    gates = model.gates(pyramid)
    assert gates.shape == (2, 4, 3, 4)
    prefix = model.prefix
    assert prefix is not None
    blocks = prefix.blocks(pyramid)
    mixed = sum(gates[:, :, 1, n, None, None] * blocks[:, :, n] for n in range(4))
    [_, second, _] = prefix.keys_values(mix(gates, blocks).flatten(2, 3))
    assert torch.allclose(prefix.phi[1](mixed.flatten(1, 2)), second, atol=1e-5)


def test_segments_are_the_encoders_token_types() -> None:
    model = RelationExtractor(extractor_config(variant="text-only")).eval()
    batch = text_batch()
    segments = torch.tensor([[0] * 4 + [1] * 3, [0] * 3 + [1] * 2 + [0] * 2])
    with torch.no_grad():
        plain = model.states(**batch)
        found = model.states(**batch, segment_ids=segments)
        expected = model.encoder(**batch, token_type_ids=segments).last_hidden_state
    assert torch.equal(found, expected)
    assert not torch.allclose(found, plain)


def test_segments_change_nothing_for_an_encoder_without_them() -> None:
    model = RelationExtractor(extractor_config("distilbert", variant="text-only")).eval()
    batch = text_batch()
    with torch.no_grad():
        found = model.states(**batch, segment_ids=torch.ones(2, 7, dtype=torch.long))
        assert torch.equal(found, model.states(**batch))
