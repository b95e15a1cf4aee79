"""Training: fine-tuning equals stored rows, seeds fix results, parameter groups are exact."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from features.backbone import load_backbone
from model.encoder import ENCODERS
from model.errors import ModelError
from model.hvpnet.variants import PAPER, STYLES, VARIANTS
from model.relation import RelationExtractor
from pipeline.corpus.labels import entities_of
from pipeline.corpus.post import Post
from pipeline.engine.digests import of_file
from pipeline.errors import DataError
from pipeline.extraction.config import ExtractConfig, PictureFiles, extract_config
from pipeline.extraction.index import StoredPyramids
from pipeline.training import train as training
from pipeline.training.batches import Collator
from pipeline.training.build import build
from pipeline.training.config import BACKBONE, SCRATCH, TrainConfig
from pipeline.training.encode import Encoded, scratch_tokenizer
from pipeline.training.evaluate import evaluate_into
from pipeline.training.finetune import FineTuned, Pixels
from pipeline.training.head_of import HEADS
from pipeline.training.recipes import train_config, train_preset
from pipeline.training.train import open_pictures, train
from pipeline.training.trainer import last_checkpoint, make_trainer, optimizer_groups
from tests.pipeline.training.test_reporting import scalars
from tests.random_backbones import scaled_once  # noqa: F401  a fixture
from tests.tiny import encoder_config, extractor_config
from tests.world import extract_posts

CONFIG = TrainConfig(
    encoder=SCRATCH, epochs=2, batch_size=8, learning_rate=1e-3, head_learning_rate=2e-3
)
EXTRACT = ExtractConfig(backbone="resnet18", weights="random", size=64)

LABELS = ["None", "borders", "classmates", "couple", "friends", "lives_in", "located_in"]
LABELS += ["partners", "teammates", "works_for"]


@dataclass(frozen=True)
class Extracted:
    """Posts, with pyramids in a store."""

    posts: list[Post]
    files: PictureFiles
    stored: StoredPyramids


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Extracted:
    posts, files = extract_posts(tmp_path_factory.mktemp("world"), EXTRACT)
    stored = open_pictures(files, finetune=False)
    assert isinstance(stored, StoredPyramids)
    return Extracted(posts, files, stored)


def fine_tuned(world: Extracted) -> tuple[FineTuned, Any, Collator, Collator, list[Encoded]]:
    """Return models with the same weights for pixels and for rows, and a collator for each."""
    pixels = open_pictures(world.files, finetune=True)
    assert isinstance(pixels, Pixels)
    torch.manual_seed(0)
    tokenizer, model = build(HEADS["re"], world.posts, LABELS, CONFIG, pixels)
    assert isinstance(model, FineTuned)
    lacking = int(np.argwhere(~world.stored.there)[0, 0])  # a post with fewer crops
    chosen = {n: world.posts[n] for n in (*range(5), lacking)}
    encoded = HEADS["re"].encode(chosen, tokenizer, LABELS, 80, PAPER)
    behind_pixels, behind_rows = (
        Collator(0, HEADS["re"].collate, p) for p in (pixels, world.stored)
    )
    return model.eval(), model.extractor, behind_pixels, behind_rows, encoded


def test_stored_pyramids_are_those_of_the_pictures(world: Extracted) -> None:
    assert world.stored.there.shape == (40, 4)
    assert world.stored.there[:, 0].all()
    assert world.stored.channels == (64, 128, 256, 512)


def test_fine_tuning_gives_the_cached_paths_numbers(world: Extracted) -> None:
    tuned, extractor, pixels, rows, encoded = fine_tuned(world)
    with torch.no_grad():
        on_the_fly = tuned(**pixels(encoded)).logits
        cached = extractor(**rows(encoded)).logits
    torch.testing.assert_close(on_the_fly, cached, atol=2e-3, rtol=0)  # float16 rounding of rows


def test_pyramids_on_the_fly_are_rounded_as_rows_are(
    world: Extracted, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned, _, pixels, rows, encoded = fine_tuned(world)
    seen: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(tuned.extractor, "forward", lambda **given: seen.update(given))
    with torch.autocast("cpu", torch.bfloat16):  # the precision of training, not of extraction
        tuned(**pixels(encoded))
    assert torch.equal(seen["pyramid"], seen["pyramid"].half().float())
    there = seen["regions"]
    assert not there.all()
    stored = rows(encoded)
    torch.testing.assert_close(seen["pyramid"], stored["pyramid"].float(), atol=1e-3, rtol=1e-3)
    assert torch.equal(there, stored["regions"])


@pytest.mark.parametrize(("style", "precision"), [(STYLES[0], "bfloat16"), (STYLES[1], "float32")])
def test_fine_tuning_at_rate_0_gives_the_cached_paths_scores(
    world: Extracted, style: str, precision: str, tmp_path: Path
) -> None:
    config = replace(CONFIG, style=style, precision=precision, epochs=1, evaluate_from=1)
    tuned = replace(config, finetune_backbone=True, backbone_learning_rate=0.0)
    results, answers = [], []
    for name, chosen in (("cached", config), ("tuned", tuned)):
        pictures = open_pictures(world.files, chosen.finetune_backbone)
        folder = tmp_path / name
        folder.mkdir()
        result = train(HEADS["re"], world.posts, LABELS, chosen, pictures, folder, "cpu")
        results.append([{k: v for k, v in e.items() if k != "loss"} for e in result["epochs"]])
        answers.append([json.loads(line) for line in (folder / "predictions.jsonl").open()])
    assert results[0] == results[1]
    probabilities = [[line.pop("score") for line in lines] for lines in answers]
    assert answers[0] == answers[1]
    # Rows are float16; an epoch of products in bfloat16 (8 bits) carries that further.
    near = 1e-3 if precision == "float32" else 2**-8
    assert probabilities[0] == pytest.approx(probabilities[1], abs=near)
    backbone = load_file(tmp_path / "tuned/model" / BACKBONE)
    untouched = load_backbone("resnet18", "random", 0).state_dict()
    assert all(torch.equal(backbone[name], untouched[name]) for name in untouched)


def test_gradients_reach_the_backbone(world: Extracted) -> None:
    tuned, _, pixels, _, encoded = fine_tuned(world)
    tuned.train()(**pixels(encoded)).loss.backward()
    gradient = tuned.backbone.conv1.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    assert not tuned.backbone.bn1.training


def test_fine_tuned_backbone_moves_and_can_be_given_back(world: Extracted, tmp_path: Path) -> None:
    posts = [post for post in world.posts if post.split != "test"][:14] + world.posts[-10:]
    config = replace(CONFIG, epochs=1, finetune_backbone=True, backbone_learning_rate=1e-3)
    pixels = open_pictures(world.files, finetune=True)
    numbered = {post.id: n for n, post in enumerate(world.posts)}
    assert isinstance(pixels, Pixels)
    pixels = replace(pixels, regions=[pixels.regions[numbered[post.id]] for post in posts])
    train(HEADS["re"], posts, LABELS, config, pixels, tmp_path, "cpu")
    saved = tmp_path / "model" / BACKBONE
    before = load_backbone("resnet18", "random", 0).state_dict()["layer4.0.conv1.weight"]
    assert not torch.equal(load_file(saved)["layer4.0.conv1.weight"], before)
    again = load_backbone("resnet18", str(saved), 0).state_dict()["layer4.0.conv1.weight"]
    assert torch.equal(again, load_file(saved)["layer4.0.conv1.weight"])
    RelationExtractor.from_pretrained(tmp_path / "model")


def test_same_seed_same_figures_and_predictions(world: Extracted, tmp_path: Path) -> None:
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        config = replace(CONFIG, seed=seed)
        result = train(
            HEADS["re"], world.posts, LABELS, config, world.stored, tmp_path / name, "cpu"
        )
        weights = load_file(tmp_path / name / "model/model.safetensors")
        results.append((result["epochs"], weights["classifier.weight"]))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][1], results[2][1])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "bert-adam", "rate_schedule": "none", "variant": "text-only"},
        {"optimizer": "adam", "rate_schedule": "inverse", "variant": "text-only"},
        {"optimizer": "sgd", "momentum": 0.9, "rate_schedule": "step", "variant": "text-only"},
    ],
    ids=lambda settings: settings.get("optimizer", "adamw"),
)
def test_an_interrupted_run_ends_with_the_same_weights(
    settings: dict[str, Any], world: Extracted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, epochs=3, evaluate_from=1, **settings)
    pictures = None if config.variant == "text-only" else world.stored
    posts = world.posts if pictures else world.posts[::3]
    arguments = (HEADS["re"], posts, LABELS, config, pictures)
    train(*arguments, tmp_path / "whole", "cpu")

    figures = training._figures
    calls = []

    def stop_at_the_third(scores: dict[str, Any]) -> dict[str, float]:
        calls.append(scores)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return figures(scores)

    monkeypatch.setattr(training, "_figures", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        train(*arguments, tmp_path / "stopped", "cpu")
    assert last_checkpoint(tmp_path / "stopped") is not None
    result = train(*arguments, tmp_path / "stopped", "cpu")
    assert len(calls) == 4  # only the third epoch runs again
    assert [entry["epoch"] for entry in result["epochs"]] == [1, 2, 3]
    whole, stopped = (
        load_file(tmp_path / name / "model/model.safetensors") for name in ("whole", "stopped")
    )
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_the_trainer_uses_the_optimizer_and_the_schedule(tmp_path: Path) -> None:
    encoded = {name: [Encoded(0, [1, 2], [0, 1], [0])] for name in ("train", "val")}
    model, collator = RelationExtractor(extractor_config()), Collator(0, HEADS["re"].collate)
    config = TrainConfig(
        epochs=5, learning_rate=1.0, warmup=0, rate_schedule="step", optimizer="sgd", momentum=0.9
    )
    trainer = make_trainer(model, encoded, collator, config, tmp_path, "cpu")
    trainer.create_optimizer_and_scheduler(10)
    optimizer, schedule = trainer.optimizer, trainer.lr_scheduler
    assert optimizer is not None
    assert schedule is not None
    assert {group["momentum"] for group in optimizer.param_groups} == {0.9}
    rates: list[float] = []
    for _ in range(10):
        rates += {*schedule.get_last_lr()}
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1, 1, 1, 1, 0.8, 0.8, 0.8, 0.8, 0.64, 0.64])


def checkpoint(folder: Path, step: int, best: int | None = None) -> Path:
    """Write a checkpoint whose files are complete."""
    made = folder / "checkpoints" / f"checkpoint-{step}"
    made.mkdir(parents=True)
    save_file({"weight": torch.zeros(8)}, made / "model.safetensors")
    torch.save({}, made / "optimizer.pt")
    state = {"global_step": step, "best_model_checkpoint": best and f"/moved/checkpoint-{best}"}
    (made / "trainer_state.json").write_text(json.dumps(state))
    digests = {file.name: of_file(file) for file in made.iterdir()}
    (made / "digests.json").write_text(json.dumps(digests))
    return made


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    """Damage a checkpoint as a power cut does before its digests are written."""
    file.write_bytes(file.read_bytes()[:-3])
    (file.parent / "digests.json").unlink()


def test_a_checkpoint_without_the_best_so_far_is_removed(tmp_path: Path) -> None:
    """A run resumed from it would keep the last epoch's model as the best."""
    checkpoint(tmp_path, 3, best=3)
    flip(checkpoint(tmp_path, 6, best=6) / "model.safetensors")
    last = checkpoint(tmp_path, 9, best=6)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoints/checkpoint-3")
    assert not last.exists()


def test_the_newest_complete_checkpoint_is_used(tmp_path: Path) -> None:
    made = {step: checkpoint(tmp_path, step) for step in (3, 12, 9)}
    (made[12] / "digests.json").unlink()  # killed just before writing the digests
    assert last_checkpoint(tmp_path) == str(made[12])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda made: (made / "digests.json").write_text('{"model'),
        lambda made: [(made / n).unlink() for n in ("digests.json", "trainer_state.json")],
        lambda made: flip(made / "model.safetensors"),
        lambda made: cut(made / "model.safetensors"),
        lambda made: cut(made / "optimizer.pt"),
        lambda made: (made / "model.safetensors").unlink(),
    ],
    ids=["half a seal", "half written", "flipped", "cut model", "cut moments", "missing"],
)
def test_an_incomplete_checkpoint_is_removed(spoil: Callable, tmp_path: Path) -> None:
    made = {step: checkpoint(tmp_path, step) for step in (3, 12)}
    spoil(made[12])
    assert last_checkpoint(tmp_path) == str(made[3])
    assert not made[12].exists()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_trained(world: Extracted, variant: str, tmp_path: Path) -> None:
    config = replace(CONFIG, variant=variant, epochs=1)
    pictures = None if variant == "text-only" else world.stored
    result = train(HEADS["re"], world.posts, LABELS, config, pictures, tmp_path, "cpu")
    assert result["config"]["variant"] == variant
    saved = RelationExtractor.from_pretrained(tmp_path / "model")
    assert saved.config.variant == variant
    assert (saved.prefix is None) == (variant == "text-only")


def test_relation_head_cls_is_trained_saved_and_evaluated(world: Extracted, tmp_path: Path) -> None:
    config = replace(CONFIG, variant="text-only", relation_head="cls")
    train(HEADS["re"], world.posts, LABELS, config, None, tmp_path, "cpu")
    saved = RelationExtractor.from_pretrained(tmp_path / "model")
    assert saved.config.relation_head == "cls"
    assert saved.classifier.weight.shape == (len(LABELS), 128)
    (tmp_path / "posts.jsonl").write_text("".join(p.to_json() + "\n" for p in world.posts))
    (tmp_path / "again").mkdir()
    evaluate_into(tmp_path / "again", tmp_path / "model", tmp_path, None, "cpu", "float32", {})
    predictions = [
        (run / "predictions.jsonl").read_text() for run in (tmp_path, tmp_path / "again")
    ]
    assert predictions[0] == predictions[1]


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_encoder_is_trained_from_its_folder(
    world: Extracted, kind: str, tmp_path: Path
) -> None:
    tokenizer = scratch_tokenizer(world.posts)
    tokenizer.save_pretrained(tmp_path / "encoder")
    tiny = encoder_config(kind)
    tiny.vocab_size = len(tokenizer)  # markers are added to these
    AutoModel.from_config(tiny).save_pretrained(tmp_path / "encoder")
    encoder = str(tmp_path / "encoder")
    config = replace(CONFIG, encoder=encoder, epochs=1, max_tokens=30, evaluate_from=1)
    train(HEADS["re"], world.posts, LABELS, config, world.stored, tmp_path, "cpu")
    saved = RelationExtractor.from_pretrained(tmp_path / "model")
    assert saved.encoder.config.model_type == kind
    assert saved.encoder.get_input_embeddings().num_embeddings == len(tokenizer) + 4


def test_entities_are_trained_scored_and_predicted(world: Extracted, tmp_path: Path) -> None:
    tags = ["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"]
    config = replace(CONFIG, epochs=8, learning_rate=5e-3)  # enough to predict some entities
    result = train(HEADS["ner"], world.posts, tags, config, world.stored, tmp_path, "cpu")
    assert [entry["epoch"] for entry in result["epochs"]] == [
        8
    ]  # evaluate_from is beyond the last epoch
    assert {"precision", "recall", "f1", "strict", "per_class"} <= result["test"].keys()
    assert {"calibration", "by_threshold"} <= result["test"].keys()
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").open()]
    assert len(lines) == 16
    for line in lines:
        assert len(line["predicted_tags"]) == len(line["tokens"]) == len(line["tags"])
        entities = [(e["label"], e["start"], e["end"]) for e in line["predicted_entities"]]
        assert entities == entities_of(line["predicted_tags"])
        assert all(0 < e["score"] <= 1 for e in line["predicted_entities"])
    assert any(line["predicted_entities"] for line in lines)
    shown = scalars(tmp_path / "tensorboard")
    for split in ("val", "test"):
        assert shown[f"final/{split}/f1"] == pytest.approx(result[split]["f1"])
        assert shown[f"final/{split}/strict/f1"] == pytest.approx(result[split]["strict"]["f1"])
    assert "eval/f1" in shown  # of the epochs


def test_best_epoch_is_kept_and_of_equal_ones_the_latest(
    world: Extracted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([10.0, 50.0, 50.0, 30.0])
    monkeypatch.setattr(
        training, "_figures", lambda _: {"precision": 0.0, "recall": 0.0, "f1": next(figures)}
    )
    config = replace(CONFIG, epochs=4, evaluate_from=1)
    result = train(HEADS["re"], world.posts, LABELS, config, world.stored, tmp_path / "a", "cpu")
    assert result["best_epoch"] == 3
    assert [entry["f1"] for entry in result["epochs"]] == [10.0, 50.0, 50.0, 30.0]
    kept = load_file(tmp_path / "a/model/model.safetensors")["classifier.weight"]
    left = {checkpoint.name for checkpoint in (tmp_path / "a/checkpoints").iterdir()}
    assert left == {"checkpoint-9", "checkpoint-12"}  # the best and the last: three batches each
    best = tmp_path / "a/checkpoints/checkpoint-9"
    assert torch.equal(load_file(best / "model.safetensors")["classifier.weight"], kept)


def test_missing_val_posts_are_a_clear_error(world: Extracted, tmp_path: Path) -> None:
    train_only = [post for post in world.posts if post.split == "train"]
    with pytest.raises(DataError, match="posts with a relation in split 'val'"):
        train(HEADS["re"], train_only, LABELS, CONFIG, world.stored, tmp_path, "cpu")


def test_parameter_groups() -> None:
    config = replace(CONFIG, weight_decay=0.1)
    _, model = build(HEADS["ner"], [Post("1", "train", ("a",))], ["O", "B-X"], config, None)
    groups = optimizer_groups(model, replace(config, learning_rate=1.0, head_learning_rate=2.0))
    options = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    names = dict(model.named_parameters())
    assert len(options) == len(names) == sum(len(group["params"]) for group in groups)
    expected = {
        "encoder.embeddings.word_embeddings.weight": (1.0, 0.1),
        "encoder.embeddings.LayerNorm.weight": (1.0, 0.0),
        "encoder.encoder.layer.0.attention.self.query.bias": (1.0, 0.0),
        "prefix.phi.0.weight": (1.0, 0.1),
        "classifier.weight": (2.0, 0.1),
        "classifier.bias": (2.0, 0.0),
        "crf.transitions": (2.0, 0.1),
        "crf.start_transitions": (2.0, 0.1),
    }
    assert {name: options[id(names[name])] for name in expected} == expected


def test_weight_decay_on_everything_as_in_the_published_scripts() -> None:
    config = replace(CONFIG, decay_all=True, weight_decay=0.1)
    _, model = build(HEADS["ner"], [Post("1", "train", ("a",))], ["O", "B-X"], config, None)
    groups = optimizer_groups(model, config)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.1]
    assert {group["lr"] for group in groups} == {1e-3, 2e-3}


def recipe(task: str, recipe: str, **others: str) -> tuple[object, ...]:
    c = train_preset(task, "mnre", recipe, **others)
    return (
        *(c.epochs, c.batch_size, c.learning_rate, c.head_learning_rate, c.weight_decay),
        *(c.decay_all, c.warmup, c.evaluate_from, c.dropout, c.max_grad_norm, c.seed),
    )


def test_recipe_of_the_paper() -> None:
    assert recipe("re", "paper") == (12, 32, 1e-5, None, 0.01, False, 0.1, 8, 0.1, 0, 1234)
    assert recipe("ner", "paper") == (30, 8, 3e-5, 5e-2, 0.01, False, 0.1, 16, 0.1, 0, 1234)
    assert train_preset("ner", "twitter2017").max_tokens == 128
    assert train_preset("ner", "twitter2015").max_tokens == 80


def test_recipe_of_the_published_scripts() -> None:
    assert recipe("re", "released") == (15, 16, 3e-5, None, 0.01, True, 0.06, 1, 0, 0, 1234)
    assert recipe("ner", "released") == (30, 8, 3e-5, 5e-2, 0.01, True, 0.01, 3, 0.1, 0, 1234)
    text_only = {"variant": "text-only"}
    assert recipe("re", "released", **text_only) == (
        15, 16, 3e-5, None, 0.01, False, 0.06, 1, 0, 0, 1234,
    )  # fmt: skip
    assert recipe("ner", "released", **text_only) == (
        30, 8, 3e-5, None, 0.01, True, 0.01, 3, 0.1, 0, 1234,
    )  # fmt: skip


def test_recipes_of_the_papers_further_experiments() -> None:
    for task, head in (("re", None), ("ner", 5e-2)):
        rest = (0.01, False, 0.1)
        assert recipe(task, "low-resource") == (30, 8, 3e-5, head, *rest, 16, 0.1, 0, 1234)
        assert recipe(task, "cross-task") == (12, 8, 3e-5, head, *rest, 8, 0.1, 0, 1234)
    demo = [train_preset("ner", "demo", name) for name in ("paper", "low-resource", "cross-task")]
    assert demo[0] == demo[1] == demo[2]


def test_a_parameter_that_no_group_declares_is_an_error() -> None:
    """A new head would have no learning rate of its own."""
    _, model = build(HEADS["re"], [Post("1", "train", ("a",))], ["None", "x"], CONFIG, None)
    model.second_head = torch.nn.Linear(4, 4)
    with pytest.raises(ModelError, match=r"RelationExtractor: .* found second_head.weight in none"):
        optimizer_groups(model, CONFIG)
    model.second_head.requires_grad_(False)  # a frozen parameter needs no rate
    assert optimizer_groups(model, CONFIG)


def test_the_head_has_the_rate_of_the_rest_unless_it_has_its_own() -> None:
    for head, expected in ((None, {1e-3}), (0.5, {1e-3, 0.5})):
        config = replace(CONFIG, head_learning_rate=head)
        _, model = build(HEADS["ner"], [Post("1", "train", ("a",))], ["O", "B-X"], config, None)
        assert {group["lr"] for group in optimizer_groups(model, config)} == expected


def test_settings_without_effect_are_left_out() -> None:
    plain = train_config("re", "mnre", {"variant": "text-only"})
    tuned = {"variant": "text-only", "finetune_backbone": True, "backbone_learning_rate": 1.0}
    assert train_config("re", "mnre", tuned) == plain
    assert extract_config("mnre", {"seed": 5}) == extract_config("mnre", {})
    random = {"seed": 5, "weights": "random"}
    assert extract_config("mnre", random) != extract_config("mnre", {"weights": "random"})


def test_words_without_a_token_are_outside() -> None:
    head = HEADS["ner"]
    encoded = [Encoded(0, [1, 2, 3], [1, 2], [0, 0], [0, -1, 1])]
    assert head.read(np.array([[1, 0, -100]]), encoded, ["O", "B-X"]) == [["B-X", "O", "O"]]


def test_a_relations_score_is_its_probability() -> None:
    logits = np.array([[1.0, 3.0, 0.0], [900.0, 0.0, -900.0]], dtype=np.float32)
    encoded = [Encoded(n, [], [], []) for n in range(2)]
    model = RelationExtractor(extractor_config())
    scored = HEADS["re"].read_scored(logits, encoded, ["None", "a", "b"], model)
    assert [post.answer for post in scored] == ["a", "None"]
    expected = [math.exp(3) / (math.exp(1) + math.exp(3) + 1), 1]
    assert [post.scores for post in scored] == pytest.approx(expected)
