"""UMGF: its parts by themselves, a published checkpoint, and parity with the published code."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchcrf import CRF
from torchvision.models import resnet18
from transformers import BertConfig, BertModel

from model.encoder import ENCODERS
from model.released import ReleasedError
from model.released_umgf import import_umgf, is_umgf
from model.systems import model_class
from model.zoo.umgf import Attention, FusionLayer, Side
from pipeline.corpus.post import Post
from pipeline.engine.digests import in_a_word, of_file
from pipeline.engine.files import read_json
from pipeline.errors import DataError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.rows import made_by
from pipeline.training.batches import Collator
from pipeline.training.import_released import PICTURES, import_into
from pipeline.training.saved import SavedModel
from tests.model.test_systems import answer, batch, make
from tests.parity.__main__ import main
from tests.tiny import CHANNELS, MINILM, SHARED, extractor_config

GOLDEN = SHARED / "golden" / "umgf" / "set_a"
WIDTH, PIECES, REGIONS = 16, 5, 3  # of the parts alone


# --- parity


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs the shared data")
def test_parity_with_the_published_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("../recipe.py", "../state_dict.json", "meta.json", "ner_1.npz"):  # absent crops
        shutil.copy(GOLDEN / name, folder / name)
    assert main(["umgf", str(folder)]) == 0, capsys.readouterr().out


# --- parts


def states(*shape: int) -> Tensor:
    """Draw random states."""
    return torch.randn(*shape, WIDTH)


def present(*lengths: int, most: int) -> Tensor:
    """Return a mask (B, most) bool: each row is True up to its length."""
    return torch.arange(most) < torch.tensor(lengths)[:, None]


def redraw(part: Any) -> Any:
    """Give a module other weights than its first ones, which are alike in places."""
    torch.manual_seed(0)
    for weight in part.parameters():
        nn.init.normal_(weight, std=0.5)
    return part.eval()


@pytest.mark.parametrize("maps", [True, False])
def test_attention_is_torchs(maps: bool) -> None:
    part = redraw(Attention(WIDTH, maps))
    same = (torch.eye(WIDTH), torch.zeros(WIDTH))
    value, merge = ((m.weight, m.bias) if maps else same for m in (part.value, part.merge))
    three = [(m.weight, m.bias) for m in (part.query, part.key)] + [value]
    expected = nn.MultiheadAttention(WIDTH, 8, batch_first=True).eval()
    expected.in_proj_weight.data = torch.cat([weight for weight, _ in three])
    expected.in_proj_bias.data = torch.cat([bias for _, bias in three])
    expected.out_proj.weight.data, expected.out_proj.bias.data = merge
    given, mask = states(2, PIECES), present(5, 2, most=PIECES)
    found, _ = expected(given, given, given, key_padding_mask=~mask)
    torch.testing.assert_close(part(given, mask), found)


def test_gates_are_those_of_the_joined_states() -> None:
    side, text, pictures = redraw(Side(WIDTH, maps=True)), states(2, PIECES), states(2, REGIONS)
    joined = torch.cat(
        [
            text[:, :, None].expand(-1, -1, REGIONS, -1),
            pictures[:, None].expand(-1, PIECES, -1, -1),
        ],
        dim=-1,
    )
    torch.testing.assert_close(side.gates(text, pictures), side.gate(joined).sigmoid())


def test_pieces_and_pictures_take_gated_sums() -> None:
    layer, text, pictures = redraw(FusionLayer(WIDTH)), states(2, PIECES), states(2, REGIONS)
    lengths, counts = (5, 2), (3, 1)
    mask, regions = present(*lengths, most=PIECES), present(*counts, most=REGIONS)
    to_text, to_pictures = torch.zeros_like(text), torch.zeros_like(pictures)
    for row in range(2):
        for piece in range(lengths[row]):
            for region in range(counts[row]):
                pair = torch.cat([text[row, piece], pictures[row, region]])
                gate = layer.text.gate(pair).sigmoid()
                to_text[row, piece] += gate * pictures[row, region]
                gate = layer.pictures.gate(pair).sigmoid()
                to_pictures[row, region] += gate * text[row, piece]
    found = layer.exchange(text, pictures, mask, regions)
    torch.testing.assert_close(found, (to_text, to_pictures))


def test_dropout_takes_shares_and_what_is_added() -> None:
    side, given, mask = (
        redraw(Side(WIDTH, maps=True)),
        states(2, PIECES),
        present(5, 2, most=PIECES),
    )
    for part in [part for part in side.train().modules() if isinstance(part, nn.Dropout)]:
        assert part.p == 0.4
        part.p = 1.0
    bias = side.attention.merge.bias.expand_as(given)
    assert torch.equal(side.attention(given, mask), bias)
    assert torch.equal(side.attend(given, mask), side.attention_norm(given))
    finished = side.norm(side.gate_norm(given))
    assert torch.equal(side.finish(given, states(2, PIECES)), finished)


def test_layers_start_as_copies_of_one_draw() -> None:
    model = make("umgf", "re")
    first, *others = model.layers
    for layer in others:
        for name, weight in layer.named_parameters():
            own = first.get_parameter(name)
            assert torch.equal(weight, own)
            assert weight is not own
    for side in (first.text, first.pictures):
        attention = side.attention
        assert torch.equal(attention.query.weight, attention.key.weight)
        assert attention.query.weight is not attention.key.weight
    assert not torch.equal(first.text.attention.query.weight, first.text.attention.value.weight)
    assert not torch.equal(first.text.gate.weight, first.pictures.gate.weight)
    for part in (first.text.gate, first.text.attention.merge, model.picture_map[0]):
        most = (6 / sum(part.weight.shape)) ** 0.5  # of Xavier's uniform draw
        assert 0.9 * most < part.weight.abs().max() <= most
        assert not part.bias.any()


def test_bert_base_has_the_published_widths() -> None:
    config = extractor_config(labels=13)
    config.system = "umgf"
    config.encoder |= {"hidden_size": 768, "num_attention_heads": 12}
    with torch.device("meta"):
        model: Any = model_class("ner", "umgf")(config)
    assert model.classifier.weight.shape == (13, 1280)
    assert model.layers[5].text.gate.weight.shape == (512, 1024)
    assert model.layers[5].pictures.inner.weight.shape == (256, 512)


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_encoder_fits(kind: str) -> None:
    config = extractor_config(kind, labels=5)
    config.system = "umgf"
    assert answer(model_class("re", "umgf")(config).eval(), batch("umgf", "re")).isfinite().all()


def test_a_region_is_the_mean_of_its_last_blocks_cells() -> None:
    model, given = make("umgf", "re"), batch("umgf", "re")
    other = {**given, "pyramid": torch.randn_like(given["pyramid"])}
    means = given["pyramid"][:, :, -CHANNELS[-1] :].mean((3, 4), keepdim=True)
    other["pyramid"][:, :, -CHANNELS[-1] :] = means
    torch.testing.assert_close(answer(model, other), answer(model, given))
    other["pyramid"][:, 1] += 1
    assert not torch.allclose(answer(model, other), answer(model, given))


@pytest.mark.parametrize("task", ["ner", "re"])
def test_a_post_without_pictures_reads_none(task: str) -> None:
    model, given = make("umgf", task), batch("umgf", task)
    without = {**given, "regions": torch.tensor([[True] * 4, [False] * 4])}
    other = {**without, "pyramid": given["pyramid"].clone()}
    other["pyramid"][1] = 7
    assert torch.equal(answer(model, without), answer(model, other))
    assert not torch.allclose(answer(model, without), answer(model, given))


def test_berts_states_come_before_the_graphs() -> None:
    model, given = make("umgf", "re"), batch("umgf", "re")
    inputs = {n: t for n, t in given.items() if n not in ("markers", "labels")}
    found = model.states(**inputs)
    text = {name: given[name] for name in ("input_ids", "attention_mask")}
    assert torch.equal(found[..., :32], model.read(**text).last_hidden_state)
    assert found.shape == (2, 7, 32 + 16)
    pair = torch.stack([torch.cat([found[n, m] for m in given["markers"][n]]) for n in range(2)])
    torch.testing.assert_close(answer(model, given), model.classifier(pair))


@pytest.mark.parametrize(("task", "rate"), [("ner", "base"), ("re", "head")])
def test_the_graph_of_relations_trains_at_the_heads_rate(task: str, rate: str) -> None:
    model = make("umgf", task)
    rates = {m: g.rate for g in model.parameter_groups() for m in g.modules}
    graph = (model.text_map, model.region_map, model.picture_map, model.layers)
    assert [rates[part] for part in graph] == [rate] * 4
    assert (rates[model.encoder], rates[model.classifier]) == ("base", "head")


@pytest.mark.parametrize("task", ["ner", "re"])
def test_bfloat16_stays_close(task: str) -> None:
    model, given = make("umgf", task), batch("umgf", task)
    expected = model(**given).loss
    with torch.autocast("cpu", torch.bfloat16):
        low = model(**given).loss
    low.backward()
    torch.testing.assert_close(low, expected, atol=0, rtol=0.02)


# --- a published checkpoint

LABELS = (
    *("PAD", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-MISC", "I-MISC"),
    *("O", "X", "[CLS]", "[SEP]"),
)
BERT, GRAPH = 64, 40  # widths of the small checkpoint


def checkpoint(words: int = 30, channels: int = 8) -> dict[str, Tensor]:
    """Return a small checkpoint in the published form, without its trunk: one layer of BERT."""
    config = BertConfig(
        vocab_size=words,
        hidden_size=BERT,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=128,
        max_position_embeddings=130,
    )
    torch.manual_seed(0)
    parts: dict[str, nn.Module] = {
        "bert": BertModel(config),
        "resnet.fc": nn.Linear(channels, channels),
        "trans_txt": nn.Linear(BERT, GRAPH),
        "trans_obj.0": nn.Linear(channels, GRAPH),
        "trans_obj.3": nn.Linear(GRAPH, GRAPH),
        "hidden2tag": nn.Linear(BERT + GRAPH, 13),
        "crf": CRF(13),
    }
    for n in range(6):
        for side, maps, gate in (("x", 4, "x2o"), ("o", 2, "o2x")):
            names = [f"mhatt_{side}.{n}.linears.{m}" for m in range(maps)]
            parts |= {name: nn.Linear(GRAPH, GRAPH) for name in names}
            parts[f"mhatt_{gate}.{n}"] = nn.Linear(2 * GRAPH, GRAPH)
            parts[f"ffn_{side}.{n}.w_1"] = nn.Linear(GRAPH, GRAPH // 2)
            parts[f"ffn_{side}.{n}.w_2"] = nn.Linear(GRAPH // 2, GRAPH)
            for norm in (f"res4mes_{side}", f"{side}gate", f"res4ffn_{side}"):
                parts[f"{norm}.{n}.norm"] = nn.LayerNorm(GRAPH)
    return {
        f"{name}.{key}": tensor.detach()
        for name, part in parts.items()
        for key, tensor in part.state_dict().items()
    }


def trunk() -> dict[str, Tensor]:
    """Return the keys of a published checkpoint's backbone, here of a ResNet-18."""
    state = resnet18(weights=None).state_dict()
    return {f"resnet.{key}": t for key, t in state.items() if not key.startswith("fc.")}


def test_every_key_is_taken_or_named() -> None:
    state, weight = checkpoint(), torch.ones(3)
    positions = {"bert.embeddings.position_ids": torch.arange(130)[None]}
    more = {"resnet.conv1.weight": weight, **positions}
    wrapped = {f"module.{key}": t for key, t in (state | more).items()}
    assert is_umgf(wrapped)
    imported = import_umgf(wrapped, LABELS)
    assert [*imported.left_out] == [*positions]
    assert imported.backbone == {"conv1.weight": weight}
    ours = imported.model.state_dict()
    assert len(ours) == len(state)
    for name, published in {
        "region_map.weight": "resnet.fc.weight",
        "picture_map.3.bias": "trans_obj.3.bias",
        "layers.4.text.attention.key.bias": "mhatt_x.4.linears.1.bias",
        "layers.4.text.attention.value.bias": "mhatt_x.4.linears.2.bias",
        "layers.5.pictures.attention.query.weight": "mhatt_o.5.linears.0.weight",
        "layers.0.text.gate.weight": "mhatt_x2o.0.weight",
        "layers.0.pictures.gate.weight": "mhatt_o2x.0.weight",
        "layers.1.pictures.outer.weight": "ffn_o.1.w_2.weight",
        "layers.2.text.gate_norm.weight": "xgate.2.norm.weight",
        "classifier.weight": "hidden2tag.weight",
        "crf.transitions": "crf.transitions",
        "encoder.pooler.dense.weight": "bert.pooler.dense.weight",
    }.items():
        assert torch.equal(ours[name], state[published])
    config = imported.model.config
    assert (config.system, config.grid, config.block_channels) == ("umgf", 1, [1, 2, 4, 8])
    assert config.dropout == 0


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("mhatt_o2x.5.bias", None, "missing: layers.5.pictures.gate.bias"),
        ("resnet.fc.bias", None, "region_map.bias is missing"),
        ("mhatt_x.6.linears.0.bias", (40,), "not known: layers.6.text.attention.query.bias"),
        ("mhatt_o.0.linears.2.bias", (40,), "not known: layers.0.pictures.attention.value.bias"),
        ("crf.transitions", (9, 9), r"crf.transitions: expected \(13, 13\), found \(9, 9\)"),
    ],
)
def test_other_files_are_refused(key: str, shape: tuple[int, ...] | None, message: str) -> None:
    state = checkpoint()
    state.pop(key, None)
    if shape is not None:
        state[key] = torch.zeros(shape)
    with pytest.raises(ReleasedError, match=message):
        import_umgf(state, LABELS)


def test_an_imported_model_tags_posts_and_brings_its_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PICTURES["umgf"] == ExtractConfig(backbone="resnet152", grid=1)
    small = ExtractConfig(backbone="resnet18", grid=1)
    monkeypatch.setitem(PICTURES, "umgf", small)
    file, state = tmp_path / "model.pt", checkpoint(words=30_522, channels=512) | trunk()
    torch.save(state, file)
    import_into(tmp_path, file, str(MINILM), posts_folder=tmp_path, longest=80)
    report = read_json(tmp_path / "report.json")
    assert (report["labels"], report["task"]) == ([*LABELS], "ner")
    assert report["keys"] == report["keys_taken"] == len(state)
    saved = SavedModel.open(tmp_path / "model")
    assert saved.longest == 128
    digest = in_a_word(of_file(tmp_path / "backbone.safetensors"))
    assert saved.config.pyramids == made_by(small, digest)
    [encoded] = saved.encode({0: Post("0", "test", ("Ringo", "sings"))})
    given = Collator(0, saved.head.collate)([encoded])
    assert given["words"].tolist() == [[*range(len(encoded.input_ids))]]  # every piece
    pictures = {"pyramid": torch.ones(1, 4, 960, 1, 1), "regions": torch.ones(1, 4).bool()}
    tags = saved.load().eval()(**given, **pictures).tags
    assert tags.shape == given["words"].shape


def test_a_checkpoint_without_its_backbone_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save(checkpoint(words=30_522), file)
    with pytest.raises(DataError, match=r"model.pt: expected the weights of its resnet152, found"):
        import_into(tmp_path, file, str(MINILM), posts_folder=tmp_path, longest=80)
