"""Test that style released computes the same as the published models."""

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from model.ner import EntityTagger
from model.relation import RelationExtractor
from model.released import ReleasedError, import_released
from model.systems import model_class
from pipeline.corpus.labels import clean_tags
from pipeline.corpus.posts import load_posts
from pipeline.extraction.index import StoredPyramids
from pipeline.training.batches import Collator
from pipeline.training.encode import load_tokenizer
from pipeline.training.head_of import HEADS
from tests.cli import luigi, outputs
from tests.parity.__main__ import main
from tests.parity.differences import Differences
from tests.parity.hvpnet import Golden
from tests.tiny import MINILM, SHARED

GOLDEN = SHARED / "golden" / "hvpnet" / "set_a"
needs_shared = pytest.mark.skipif(not GOLDEN.exists(), reason="needs the shared data")
# The golden pictures are cropped already; the golden results were computed in float32.
STRETCH = ("--ExtractPyramid-resize", "stretch", "--ExtractPyramid-precision", "float32")


# --- parity


@needs_shared
def test_parity_with_the_published_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hvpnet", str(GOLDEN)]) == 0, capsys.readouterr().out


def test_parity_fails_where_a_difference_is_too_large_or_was_not_measured() -> None:
    differences = Differences({"a": 1.0, "b": 1.0, "c": 1.0})
    differences.add("a", [1.0, 2.0], [1.0, 2.5])
    assert differences.too_large() == ["b", "c"]
    differences.note("b", 1.5)
    differences.note("c", float("nan"))
    differences.note("c", 0.0)
    assert differences.too_large() == ["b", "c"]
    assert "b" in differences.lines()[2]
    assert differences.lines()[2].endswith("TOO LARGE")


# --- import


def checkpoint(task: str = "re", layers: int = 1, pictures: bool = True) -> dict[str, Tensor]:
    """Return a small checkpoint in the published form.

    It is 64 wide, with one head and blocks of 1, 2, 4, 8 channels.
    """
    shapes = {
        "bert.embeddings.position_ids": (1, 12),
        "bert.embeddings.word_embeddings.weight": (30, 64),
        "bert.embeddings.position_embeddings.weight": (12, 64),
        "bert.embeddings.token_type_embeddings.weight": (2, 64),
        "bert.pooler.dense.weight": (64, 64),
        "bert.pooler.dense.bias": (64,),
    }
    norms = ["embeddings.LayerNorm"]
    for n in range(layers):
        layer = f"encoder.layer.{n}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"bert.{layer}.attention.{part}.weight"] = (64, 64)
            shapes[f"bert.{layer}.attention.{part}.bias"] = (64,)
        shapes[f"bert.{layer}.intermediate.dense.weight"] = (16, 64)
        shapes[f"bert.{layer}.intermediate.dense.bias"] = (16,)
        shapes[f"bert.{layer}.output.dense.weight"] = (64, 16)
        shapes[f"bert.{layer}.output.dense.bias"] = (64,)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        if pictures:
            shapes |= {f"gates.{n}.weight": (4, 512), f"gates.{n}.bias": (4,)}
    shapes |= {f"bert.{norm}.{part}": (64,) for norm in norms for part in ("weight", "bias")}
    if pictures:
        shapes |= {"encoder_conv.0.weight": (5, 15), "encoder_conv.0.bias": (5,)}
        shapes |= {"encoder_conv.2.weight": (512, 5), "encoder_conv.2.bias": (512,)}
        shapes |= {"image_model.resnet.conv1.weight": (2, 3, 7, 7)}
        shapes |= {"image_model.resnet.fc.weight": (3, 8), "image_model.resnet.fc.bias": (3,)}
    if task == "re":
        shapes |= {"classifier.weight": (3, 128), "classifier.bias": (3,)}
    else:
        shapes |= {"fc.weight": (3, 64), "fc.bias": (3,), "crf.transitions": (3, 3)}
        shapes |= {"crf.start_transitions": (3,), "crf.end_transitions": (3,)}
    draw = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


LABELS = ["None", "a", "b"]


def test_every_key_is_taken_or_named() -> None:
    state = checkpoint(layers=11)
    imported = import_released({f"module.{key}": t for key, t in state.items()}, LABELS)
    assert set(imported.left_out) == {
        "bert.embeddings.position_ids",
        "image_model.resnet.fc.weight",
        "image_model.resnet.fc.bias",
    }
    assert set(imported.backbone) == {"conv1.weight"}
    ours = imported.model.state_dict()
    assert sum(t.numel() for t in ours.values()) == sum(
        tensor.numel()
        for key, tensor in state.items()
        if key not in imported.left_out and not key.startswith("image_model.")
    )
    gates = ours["prefix.gate.mlp.weight"].unflatten(0, (11, 4))
    assert torch.equal(gates[10], state["gates.10.weight"])  # by number, not by name
    config = imported.model.config
    assert (config.style, config.grid, config.block_channels) == ("released", 2, [1, 2, 4, 8])
    assert (config.bottleneck, config.dropout, config.marker_ids) == (5, 0.0, [26, 27, 28, 29])


@pytest.mark.parametrize("task", ["re", "ner"])
def test_text_only_checkpoint(task: str) -> None:
    imported = import_released(checkpoint(task, pictures=False), LABELS)
    assert imported.model.config.variant == "text-only"
    assert imported.backbone == {}
    assert isinstance(imported.model, EntityTagger if task == "ner" else RelationExtractor)


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("gates.0.bias", None, "missing: prefix.gate.mlp.bias"),
        ("bert.embeddings.word_embeddings.weight", None, "word_embeddings.weight is missing"),
        ("surprise.weight", (1,), "not known: surprise.weight"),
        (
            "classifier.weight",
            (4, 128),
            r"classifier.weight: expected \(3, 128\), found \(4, 128\)",
        ),
    ],
)
def test_other_files_are_refused(key: str, shape: tuple[int, ...] | None, message: str) -> None:
    state = checkpoint()
    state.pop(key, None)
    if shape is not None:
        state[key] = torch.zeros(shape)
    with pytest.raises(ReleasedError, match=message) as raised:
        import_released(state, LABELS)
    assert "\n" not in str(raised.value)


# --- from pictures to logits, through the store


def write_pictures(
    golden: Golden, row: list[str], whole: Path, crops: Path, name: str
) -> list[str]:
    """Write a post's picture and crops as PNG whatever their suffix; return the crops' names."""
    for folder in (whole, crops):
        folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number, picture in enumerate(row):
        pixels = golden.picture(picture)
        if pixels is not None:
            file = crops / f"{name}_{number}.png" if number else whole / name
            Image.fromarray(pixels).save(file, "PNG")
            names += [file.name] * (number > 0)
    return names


def write_relations(golden: Golden, cases: Sequence[Mapping[str, Any]], data: Path) -> None:
    """Write the cases' posts and pictures to each split, in MNRE's published layout."""
    lines = (SHARED / "data/mnre/test.txt").read_text().splitlines()
    texts = data / "RE_data/txt"
    texts.mkdir(parents=True)
    for split, other in (("train", "train"), ("val", "dev"), ("test", "test")):
        rows: list[str] = []
        crops: dict[int, list[str]] = {}
        for case in cases:
            for number, pictures in zip(case["rows"], case["pictures"], strict=True):
                row = ast.literal_eval(lines[number])
                row["img_id"] = f"{split}{len(rows)}.png"
                whole, cut = (
                    data / f"RE_data/img_org/{split}",
                    data / f"RE_data/img_vg/{split}/crops",
                )
                crops[len(rows)] = write_pictures(golden, pictures, whole, cut, row["img_id"])
                rows.append(repr(row))
        (texts / f"ours_{split}.txt").write_text("\n".join(rows) + "\n")
        torch.save(crops, texts / f"mre_{other}_dict.pth")


def write_entities(golden: Golden, cases: Sequence[Mapping[str, Any]], data: Path) -> None:
    """Write the cases' posts and pictures to each split, in Twitter-2017's published layout."""
    text = (SHARED / "data/twitter2017/test.txt").read_text()
    tweets = [tweet.partition("\n")[2] for tweet in text.split("IMGID:")[1:]]
    base = data / "NER_data/twitter2017"
    base.mkdir(parents=True)
    for split, other in (("train", "train"), ("val", "valid"), ("test", "test")):
        written = ""
        crops: dict[str, list[str]] = {}
        for case in cases:
            for number, pictures in zip(case["rows"], case["pictures"], strict=True):
                name = f"{split}{len(crops)}"
                whole = data / "NER_data/twitter2017_images"
                cut = data / f"NER_data/twitter2017_aux_images/{split}/crops"
                crops[f"{name}.jpg"] = write_pictures(golden, pictures, whole, cut, f"{name}.jpg")
                written += f"IMGID:{name}\n{tweets[number]}"
        (base / f"{other}.txt").write_text(written)
        torch.save(crops, base / f"twitter2017_{split}_dict.pth")


@needs_shared
@pytest.mark.parametrize(
    ("name", "dataset"), [("re", "mnre"), ("ner", "twitter2017")], ids=["re", "ner"]
)
def test_published_checkpoint_from_pictures_to_predictions(
    name: str, dataset: str, tmp_path: Path
) -> None:
    golden, head = Golden(GOLDEN), HEADS[name]
    cases = [dict(np.load(file)) for file in golden.cases(name)]
    data, store, file = tmp_path / "data", tmp_path / "store", tmp_path / "best_model.pth"
    (write_relations if name == "re" else write_entities)(golden, cases, data)
    torch.save(golden.checkpoint(name), file)

    def run(command: str, *options: str) -> Path:
        done = luigi(command, "--dataset", dataset, *options, data=data, store=store)
        assert done.returncode == 0, done.stderr
        return outputs(store, command)[-1]

    imported = run("ImportReleased", "--checkpoint", str(file), "--tokenizer", str(MINILM))
    file.unlink()
    weights = ("--ExtractPyramid-weights", str(imported / "backbone.safetensors"))
    model = imported / "model"
    evaluated = run("Evaluate", "--model", str(model), *weights, *STRETCH)

    posts = load_posts(outputs(store, "ReadPosts")[-1])
    extractor = model_class(head.name, "hvpnet").from_pretrained(model).eval()
    stored = StoredPyramids.open(outputs(store, "ExtractPyramid")[-1], store / "pyramids")
    tokenizer = load_tokenizer(str(model))
    labels = golden.labels(name)
    chosen = head.numbered(posts, "test")
    encoded = head.encode(chosen, tokenizer, labels, tokenizer.model_max_length, "released")
    with torch.no_grad():
        answer = extractor(**Collator(0, head.collate, stored)(encoded))
    lines = [json.loads(line) for line in (evaluated / "predictions.jsonl").open()]
    predicted = [line for line in lines if line["split"] == "test"]
    assert len(predicted) == len(chosen) == 6
    if name == "re":
        published = np.concatenate([case["logits"] for case in cases])
        # Rows are float16: the logits move by up to 4e-4.
        np.testing.assert_allclose(answer.logits.numpy(), published, atol=1e-3, rtol=0)
        expected = [labels[n] for n in published.argmax(1)]
        assert [line["predicted_relation"] for line in predicted] == expected
        return
    emissions = np.concatenate([case["emissions"] for case in cases])
    tags = np.concatenate([case["tags"] for case in cases])
    for n, post in enumerate(encoded):
        pieces = len(post.positions)
        np.testing.assert_allclose(
            answer.emissions[n, :pieces].numpy(), emissions[n, :pieces], atol=3e-3, rtol=0
        )
        assert answer.tags[n, :pieces].tolist() == tags[n, :pieces].tolist()
        raw = [labels[tags[n, token]] if token >= 0 else "O" for token in post.words]
        assert predicted[n]["predicted_tags"] == clean_tags(raw)
