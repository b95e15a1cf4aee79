"""Start from another run: what is taken, what is left, and what does not fit."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from features.weights import save_state
from model.encoder import EncoderError
from model.hvpnet.prefixed import PrefixedEncoder
from pipeline.corpus.post import Post
from pipeline.errors import DataError, SettingError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.rows import made_by
from pipeline.training.build import build
from pipeline.training.build_words import build_words
from pipeline.training.config import BACKBONE, SCRATCH, TrainConfig
from pipeline.training.encode import save_tokenizer
from pipeline.training.evaluate import evaluate_into
from pipeline.training.head_of import HEADS
from pipeline.training.possible import check_start
from pipeline.training.recipes import train_config
from pipeline.training.relations import MARKERS
from pipeline.training.start import Start
from pipeline.training.train import train
from tests.cli import luigi
from tests.tiny import CHANNELS

CONFIG = TrainConfig(encoder=SCRATCH, epochs=1, batch_size=4, learning_rate=1e-3, max_tokens=12)
LABELS = {"re": ["None", "likes"], "ner": ["O", "B-PER"]}
WORDS, TAGS = ("Ada", "met", "Bob"), ("B-PER", "O", "B-PER")
POSTS = [
    Post(f"{split} {n}", split, WORDS, None, TAGS, (0, 1), (2, 3), LABELS["re"][n % 2])
    for split in ("train", "val", "test")
    for n in range(4)
]


@dataclass(frozen=True)
class Drawn:
    """Random pyramids of four regions, made by some settings."""

    made_by: dict[str, Any] = field(default_factory=lambda: made_by(ExtractConfig(), "weights"))
    channels: tuple[int, ...] = tuple(CHANNELS)
    grid: int = 2

    def __call__(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(0)
        shape = (len(numbers), 4, sum(self.channels), self.grid, self.grid)
        regions = torch.ones(len(numbers), 4, dtype=torch.bool)
        return {"pyramid": torch.randn(shape, generator=draw), "regions": regions}


def saved(folder: Path, task: str, pictures: Drawn | None) -> None:
    """Write a model with random weights as a run's; text-only without pictures."""
    torch.manual_seed(0)
    config = replace(CONFIG, variant="hvpnet" if pictures else "text-only")
    tokenizer, model = build(HEADS[task], POSTS, LABELS[task], config, pictures)
    assert isinstance(model, PrefixedEncoder)
    model.save_pretrained(folder / "model")
    tokenizer.model_max_length = config.max_tokens
    save_tokenizer(tokenizer, folder / "model")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of both tasks, with pictures (`ner`, `re`) and without (`ner-of-text`)."""
    root = tmp_path_factory.mktemp("runs")
    saved(root / "ner", "ner", Drawn())
    saved(root / "re", "re", Drawn())
    saved(root / "ner-of-text", "ner", None)
    return root


def built(task: str, run: Path, pictures: Drawn | None, **settings: Any) -> tuple[Any, Any, Start]:
    """Tokenizer, model and start of a training that starts from a run."""
    settings = {"variant": "hvpnet" if pictures else "text-only", **settings}
    config = replace(CONFIG, encoder=None, start_from=str(run), **settings)
    start = Start.open(run / "model", pictures)
    tokenizer, model = build(HEADS[task], [], LABELS[task], config, pictures, start)
    return tokenizer, model, start


def same(ours: Any, theirs: Any) -> bool:
    """Return True if two modules have equal weights."""
    state, other = ours.state_dict(), theirs.state_dict()
    return state.keys() == other.keys() and all(torch.equal(state[n], other[n]) for n in state)


def test_relations_start_from_entities(runs: Path) -> None:
    """The tokenizer gets markers, the embeddings rows for them; all else is the run's."""
    old = Start.open(runs / "ner/model", Drawn())
    tokenizer, model, start = built("re", runs / "ner", Drawn())
    assert model.config.marker_ids == [old.pieces + n for n in range(4)]
    assert tokenizer.convert_tokens_to_ids(list(MARKERS)) == model.config.marker_ids
    rows = model.encoder.get_input_embeddings().weight
    assert rows.shape[0] == len(tokenizer) == old.pieces + 4
    assert torch.equal(rows[:-4], old.model.encoder.get_input_embeddings().weight)
    assert same(model.encoder.encoder, old.model.encoder.encoder)
    assert same(model.prefix, old.model.prefix)
    assert start.report(model)["new"] == {"head": 2 * (2 * 128) + 2, "marker pieces": 4 * 128}


def test_another_system_gets_markers_as_wide_as_the_encoder(runs: Path) -> None:
    _, model, start = built("re", runs / "ner", Drawn(), system="umgf")
    assert model.hidden == 128 + 80
    assert start.report(model)["new"]["marker pieces"] == 4 * 128


def test_entities_start_from_relations_and_keep_the_markers(runs: Path) -> None:
    old = Start.open(runs / "re/model", Drawn())
    tokenizer, model, start = built("ner", runs / "re", Drawn(), variant="only-objects")
    assert len(tokenizer) == old.pieces
    assert model.config.marker_ids == []
    assert same(model.encoder, old.model.encoder)
    assert same(model.prefix, old.model.prefix)
    report = start.report(model)
    assert set(report["taken"]) == {"encoder", "prefix"}
    assert set(report["left"]) == set(report["new"]) == {"head"}
    again, _, _ = built("re", runs / "re", Drawn())
    assert len(again) == old.pieces  # the markers are not added twice


def test_a_prefix_is_new_after_a_text_only_run_and_left_by_one(runs: Path) -> None:
    _, model, start = built("re", runs / "ner-of-text", Drawn())
    report = start.report(model)
    assert report["new"]["prefix"] == sum(p.numel() for p in model.prefix.parameters())
    assert set(report["taken"]) == {"encoder"}
    _, model, start = built("re", runs / "ner", None)
    assert model.prefix is None
    assert set(start.report(model)["left"]) == {"head", "prefix"}


def test_a_run_is_started_logged_saved_and_evaluated(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    config = replace(
        CONFIG,
        variant="text-only",
        encoder=None,
        start_from=str(runs / "ner"),
        max_tokens=2 * CONFIG.max_tokens,  # the first run's limit is not this run's
    )
    start = train(HEADS["re"], POSTS, LABELS["re"], config, None, tmp_path, "cpu", 1.0)["start"]
    assert (start["task"], start["fingerprint"]) == ("ner", None)  # no metrics.json beside it
    lines = [r.getMessage() for r in caplog.records if r.name.endswith("start")]
    assert lines == [
        f"start from {runs / 'ner/model'}",
        f"taken: encoder ({start['taken']['encoder']:,} parameters)",
        f"left: head ({start['left']['head']:,} parameters)",
        f"left: prefix ({start['left']['prefix']:,} parameters)",
        "new: head (514 parameters)",
        "new: marker pieces (512 parameters)",
    ]
    (tmp_path / "posts.jsonl").write_text("".join(post.to_json() + "\n" for post in POSTS))
    (tmp_path / "again").mkdir()
    evaluate_into(tmp_path / "again", tmp_path / "model", tmp_path, None, "cpu", "float32", {})
    answers = [(run / "predictions.jsonl").read_text() for run in (tmp_path, tmp_path / "again")]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"style": "released"}, "prefix has style released, as this training's; found style paper"),
        ({"variant": "flat"}, "prefix has variant flat, as this training's; found variant hvpnet"),
    ],
)
def test_another_prefix_is_refused_before_and_in_training(
    settings: dict[str, str], message: str, runs: Path
) -> None:
    with pytest.raises(SettingError, match=message):
        built("re", runs / "ner", Drawn(), **settings)
    with pytest.raises(SettingError, match=message):
        check_start(runs / "ner/model", {"style": "paper", "variant": "hvpnet", **settings})


def test_another_shape_of_pyramids_is_refused(runs: Path) -> None:
    with pytest.raises(SettingError, match=r"has grid 3, as this training's; found grid 2"):
        built("re", runs / "ner", Drawn(grid=3))


def test_another_kind_of_pyramids_is_refused(runs: Path, tmp_path: Path) -> None:
    """The rows' shapes are the same, so nothing else would show it."""
    others = Drawn(made_by(ExtractConfig(pooling="adaptive"), "weights"))
    with pytest.raises(DataError, match="expected pyramids with pooling floor; found pooling adap"):
        built("re", runs / "ner", others)
    built("re", runs / "ner-of-text", others)  # its prefix is new


def test_a_fine_tuned_backbone_must_have_made_the_pyramids(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "ner/model", tmp_path / "run/model")
    file = tmp_path / "run/model" / BACKBONE
    save_state({"conv": torch.zeros(3, 2)}, file)
    stock = Drawn(made_by(ExtractConfig(), "IMAGENET1K_V1"))
    with pytest.raises(DataError) as caught:
        built("re", tmp_path / "run", stock)
    assert str(caught.value).endswith(f"extract them with --ExtractPyramid-weights {file}")
    _, model, start = built("re", tmp_path / "run", Drawn())
    assert start.report(model)["taken"]["backbone"] == 6
    _, model, start = built("re", tmp_path / "run", None)
    assert start.report(model)["left"]["backbone"] == 6


def test_a_damaged_run_is_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "ner-of-text/model", tmp_path / "run/model")
    weights = tmp_path / "run/model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(EncoderError, match="expected a saved model, found a damaged one"):
        built("re", tmp_path / "run", None)
    (tmp_path / "run/model/tokenizer.json").unlink()
    with pytest.raises(DataError, match="the tokenizer's files are missing"):
        check_start(tmp_path / "run/model", {"variant": "text-only"})
    (tmp_path / "run/model/config.json").unlink()
    with pytest.raises(DataError, match="expected a model folder made by training"):
        check_start(tmp_path / "run/model", {"variant": "text-only"})


def test_a_run_on_words_is_refused_before_and_in_training(tmp_path: Path) -> None:
    config = replace(CONFIG, system="hbilstm-crf", encoder=None, variant="text-only")
    training = {"train": dict(enumerate(POSTS))}
    tokenizer, model, _ = build_words(HEADS["ner"], training, LABELS["ner"], config)
    model.save_pretrained(tmp_path)
    save_tokenizer(tokenizer, tmp_path)
    message = "expected a model with a text encoder, found one of system hbilstm-crf, which reads"
    with pytest.raises(SettingError, match=message):
        check_start(tmp_path, {"variant": "text-only"})
    with pytest.raises(SettingError, match=message):
        Start.open(tmp_path, None)


def test_an_encoder_beside_a_run_is_refused() -> None:
    message = "--encoder: expected none with --start-from, .* found scratch"
    with pytest.raises(SettingError, match=message):
        train_config("re", "mnre", {"start_from": "run", "encoder": "scratch"})
    assert train_config("re", "mnre", {"start_from": "run"}).encoder is None


def test_a_start_that_is_not_there_is_an_error_of_one_line(tmp_path: Path) -> None:
    done = luigi("TrainRE", "--dataset", "demo", "--start-from", "nowhere", store=tmp_path)
    assert done.returncode != 0
    assert "--start-from: expected a file or folder, found nothing at nowhere" in done.stderr
    assert "Traceback" not in done.stderr
