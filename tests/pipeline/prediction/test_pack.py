"""Test runs with weights in files, and packed folders: both give the same predictions."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from features.backbone import load_backbone
from features.weights import save_state
from pipeline.errors import DataError, SettingError
from pipeline.grounding.config import GroundConfig, Grounders
from pipeline.prediction.extractor import Extractor
from pipeline.prediction.pack import MANIFEST, SUMS, check_packed, pack
from pipeline.prediction.runs import Files, digest_of, open_run
from tests.cli import HOME
from tests.pipeline.prediction.trained import EXTRACT, Trained
from tests.tiny_detectors import write_mm_grounding_dino
from tests.tiny_faoa import random_faoa, write_faoa

NO_FILES = Files()
DETECTOR = GroundConfig(Grounders("detector"), phrases="given", min_score=0.0)
FAOA = GroundConfig(Grounders("faoa"), phrases="given", min_score=0.0, trained_on="flickr")


@pytest.fixture(scope="module")
def records(runs: Trained) -> list[dict[str, Any]]:
    """Return a few posts, with phrases for the grounders that read phrases."""
    return [
        {
            "text": " ".join(post.tokens),
            "picture": str(runs.root / str(post.picture)),
            "phrases": ["the dog", "a red cat"],
        }
        for post in runs.posts[:2]
    ]


def predicted(records: list[dict[str, Any]], *folders: Path, **files: Path) -> list[Any]:
    extractor = Extractor.load(*folders, **files)  # type: ignore[arg-type]
    return [one.to_dict() for one in extractor.predict(records)]


def write_backbone(file: Path, seed: int = 0) -> Path:
    """Write the random weights of `EXTRACT`, or those of another seed, to a file."""
    save_state(load_backbone(EXTRACT.backbone, EXTRACT.weights, seed).state_dict(), file)
    return file


def derived(
    run: Path,
    folder: Path,
    backbone: Path | None = None,
    grounding: GroundConfig | None = None,
    **grounder: Path,
) -> Path:
    """Copy a run, and change it as if it had been trained with other weights, given as files."""
    shutil.copytree(run, folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    named = {} if backbone is None else {"backbone": backbone}
    if backbone is not None:
        config = json.loads((folder / "model/config.json").read_text())
        config["pyramids"]["weights"] = digest_of(backbone)
        (folder / "model/config.json").write_text(json.dumps(config))
    if grounding is not None:
        words = {"grounder": "weights", "vocabulary": "vocabulary"}
        sources = {words[name]: digest_of(path) for name, path in grounder.items()}
        settings = grounding.described() | dict.fromkeys(sources, "from disk")
        metrics["keys"] = [{"stage": "GroundCrops", "settings": settings, "sources": sources}]
        named |= grounder
    metrics["weights"] = {
        name: {"file": str(path), "digest": digest_of(path)} for name, path in named.items()
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


# --- weights that a run was trained with


def test_a_backbone_is_where_it_was(
    looks: Path, records: list[dict[str, Any]], tmp_path: Path
) -> None:
    run = derived(looks, tmp_path / "run", write_backbone(tmp_path / "x.safetensors"))
    assert predicted(records, run) == predicted(records, looks)


def test_a_backbone_that_was_moved(looks: Path, tmp_path: Path) -> None:
    file = write_backbone(tmp_path / "x.safetensors")
    run = derived(looks, tmp_path / "run", file)
    moved = file.rename(tmp_path / "y.safetensors")
    with pytest.raises(DataError, match=r"found nothing at .*--backbone FILE"):
        open_run(run, NO_FILES)
    assert weights(run, Files(backbone=moved)) == str(moved)
    shutil.copy(moved, run / "backbone.safetensors")  # as ImportReleased leaves it
    assert weights(run) == str(run / "backbone.safetensors")
    (run / "metrics.json").unlink()
    assert weights(run) == str(run / "backbone.safetensors")


def weights(run: Path, files: Files = NO_FILES) -> str:
    pictures = open_run(run, files).pictures
    assert pictures is not None
    return pictures.extraction.weights


def test_another_backbone_is_refused(looks: Path, tmp_path: Path) -> None:
    file = write_backbone(tmp_path / "x.safetensors")
    run = derived(looks, tmp_path / "run", file)
    other = write_backbone(tmp_path / "y.safetensors", seed=1)
    with pytest.raises(DataError) as caught:
        open_run(run, Files(backbone=other))
    assert digest_of(file) in str(caught.value)
    assert f"{other} ({digest_of(other)})" in str(caught.value)
    with pytest.raises(SettingError, match="trained on random weights, which need no file"):
        open_run(looks, Files(backbone=other))


def test_published_weights_are_known_by_their_digest(looks: Path, tmp_path: Path) -> None:
    shutil.copytree(looks, tmp_path / "run")
    config = json.loads((looks / "model/config.json").read_text())
    config["pyramids"]["weights"] = "IMAGENET1K_V1"
    (tmp_path / "run/model/config.json").write_text(json.dumps(config))
    assert weights(tmp_path / "run") == "IMAGENET1K_V1"
    other = write_backbone(tmp_path / "y.safetensors")
    with pytest.raises(DataError, match=r"IMAGENET1K_V1 of resnet18 \(sha256 f37072fd…\), found"):
        open_run(tmp_path / "run", Files(backbone=other))


def test_the_model_itself_may_be_named(looks: Path) -> None:
    assert open_run(looks / "model", NO_FILES) == open_run(looks, NO_FILES)


# --- packed folders predict the same


def check_packed_predicts(
    records: list[dict[str, Any]], folders: list[Path], out: Path, grounder_too: bool = False
) -> list[Any]:
    before = predicted(records, *folders)
    pack(folders, out, NO_FILES, grounder_too)
    assert predicted(records, out) == before
    check_packed(out)
    return before


def test_in_a_bare_process(
    looks: Path, relates: Path, records: list[dict[str, Any]], tmp_path: Path
) -> None:
    before = check_packed_predicts(records, [looks, relates], tmp_path / "out")
    assert any(one["entities"] for one in before)
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    for path in (*moved.rglob("*"), moved):
        path.chmod(path.stat().st_mode & ~0o222)
    (tmp_path / "home").mkdir()
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    done = subprocess.run(
        [sys.executable, "-c", "import hvpnet; hvpnet.main()", "predict", moved, "-"],
        stdin=(tmp_path / "posts.jsonl").open(),
        cwd=tmp_path / "home",
        env={
            "HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(HOME),
            "OMP_NUM_THREADS": "1",
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            **{f"{name}_proxy": "http://127.0.0.1:9" for name in ("http", "https")},
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == before
    assert list(check_packed(moved))


def test_a_backbone_that_was_tuned(
    runs: Trained, records: list[dict[str, Any]], tmp_path: Path
) -> None:
    run = runs.run("tuned", "re", finetune_backbone=True, backbone_learning_rate=1e-3)
    asked = [
        {**one, "entities": [{"start": 0, "end": 1}, {"start": 2, "end": 3}]} for one in records
    ]
    asked = [{"text": "a b", **{k: one[k] for k in ("picture", "entities")}} for one in asked]
    check_packed_predicts(asked, [run], tmp_path / "out")
    assert not (tmp_path / "out/relations/backbone.safetensors").exists()


def test_two_backbones(
    looks: Path, records: list[dict[str, Any]], runs: Trained, tmp_path: Path
) -> None:
    related = runs.run("related", "re")
    other = derived(related, tmp_path / "run", write_backbone(tmp_path / "x.safetensors", seed=1))
    check_packed_predicts(records[:1], [looks, other], tmp_path / "out")
    assert len(list((tmp_path / "out").glob("backbone-*"))) == 2
    pack([looks, related], tmp_path / "same", NO_FILES)
    assert len(list((tmp_path / "same").glob("backbone-*"))) == 1


def test_a_detector(looks: Path, records: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "detector").mkdir()
    detector = write_mm_grounding_dino(tmp_path / "detector")
    run = derived(looks, tmp_path / "run", grounding=DETECTOR, grounder=detector)
    before = check_packed_predicts(records, [run], tmp_path / "out", grounder_too=True)
    assert {region["source"] for region in before[0]["regions"]} == {"detector"}
    pack([run], tmp_path / "without", NO_FILES)
    moved = detector.rename(tmp_path / "moved")
    assert predicted(records, tmp_path / "out") == before
    assert predicted(records, tmp_path / "without", grounder=moved) == before
    with pytest.raises(DataError, match=r"expected grounder with .*--grounder"):
        Extractor.load(tmp_path / "without")
    (moved / "config.json").write_text("{}")
    with pytest.raises(DataError) as caught:
        Extractor.load(tmp_path / "without", grounder=moved)
    assert digest_of(moved) in str(caught.value)


def test_faoa(looks: Path, records: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "faoa").mkdir()
    folder = write_faoa(random_faoa(), tmp_path / "faoa")
    files = {
        "grounder": folder / "lstm_flickr_model.pth.tar",
        "vocabulary": folder / "words.json",
    }
    run = derived(looks, tmp_path / "run", grounding=FAOA, **files)
    pack([run], tmp_path / "out", NO_FILES, grounder_too=True)
    shutil.rmtree(folder)
    [prediction] = predicted(records[:1], tmp_path / "out")
    assert {region["source"] for region in prediction["regions"]} == {"faoa"}
    with pytest.raises(DataError, match="expected vocabulary with sha256"):
        open_run(run, NO_FILES)


def test_a_hub_detector_is_left_to_the_hub(looks: Path, tmp_path: Path) -> None:
    run = derived(looks, tmp_path / "run", grounding=replace(DETECTOR, weights="nobody/nothing"))
    pack([run], tmp_path / "out", NO_FILES)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    pictures = manifest["models"]["entities"]["pictures"]
    assert (pictures["grounding"]["weights"], pictures["grounder"]) == ("nobody/nothing", None)


# --- packing and checking


@pytest.fixture
def tiny(tmp_path: Path, relates: Path) -> Path:
    """Make a packed folder with small files."""
    folder = tmp_path / "tiny"
    pack([relates], folder, NO_FILES)
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / "relations" / name).write_bytes(b"12345")
    write_sums(folder)
    assert check_packed(folder)
    return folder


def write_sums(folder: Path) -> None:
    names = [line.split("  ")[1] for line in (folder / SUMS).read_text().splitlines()]
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]
    lines = [f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True)]
    (folder / SUMS).write_text("".join(lines))


def test_each_altered_byte_is_noticed(tiny: Path) -> None:
    for file in [path for path in tiny.rglob("*") if path.is_file()]:
        content = file.read_bytes()
        for place in range(0, len(content), max(1, len(content) // 97)):
            for other in (content[place] ^ 1, content[place] ^ 0x20):
                file.write_bytes(content[:place] + bytes([other]) + content[place + 1 :])
                with pytest.raises(DataError):
                    check_packed(tiny)
        file.write_bytes(content)
    assert check_packed(tiny)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "relations/config.json").unlink(), "missing: relations/config"),
        (lambda folder: (folder / "relations/new").touch(), "added: relations/new"),
        (lambda folder: (folder / ".new").touch(), "added: .new"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "altered: packed.json"),
        (lambda folder: (folder / SUMS).unlink(), "SHA256SUMS: cannot be read"),
        (lambda folder: (folder / SUMS).write_bytes(b"\xff"), "SHA256SUMS: cannot be read"),
    ],
)
def test_each_file_is_accounted_for(tiny: Path, change: Any, message: str) -> None:
    change(tiny)
    with pytest.raises(DataError) as caught:
        check_packed(tiny)
    assert message in str(caught.value)


def test_altered_settings_are_noticed_when_they_are_read(tiny: Path) -> None:
    (tiny / MANIFEST).write_text("{}")
    with pytest.raises(DataError, match=r"packed.json: was altered"):
        Extractor.load(tiny)


def test_a_missing_file_is_named_when_it_is_opened(tiny: Path) -> None:
    (tiny / "relations/tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"1 of its files are missing, such as relations/tok"):
        Extractor.load(tiny)


def test_a_later_form_is_refused(tiny: Path) -> None:
    manifest = json.loads((tiny / MANIFEST).read_text())
    (tiny / MANIFEST).write_text(json.dumps({**manifest, "format": 2}))
    write_sums(tiny)
    with pytest.raises(DataError, match="expected a packed folder of format 1, found 2"):
        Extractor.load(tiny)


def test_sums_are_those_of_sha256sum(tiny: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", SUMS], cwd=tiny, capture_output=True)
    assert done.returncode == 0


def test_no_other_folder_is_packed(relates: Path) -> None:
    with pytest.raises(DataError, match=r"expected a packed folder with packed.json, found none"):
        check_packed(relates)


def test_a_packed_folder_takes_no_other_backbone(tiny: Path) -> None:
    with pytest.raises(SettingError, match="leave out --backbone"):
        Extractor.load(tiny, backbone=tiny / "x")


def test_nothing_is_left_of_a_pack_that_fails(looks: Path, relates: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="expected a new folder to pack into"):
        pack([relates], tmp_path, NO_FILES)
    with pytest.raises(SettingError, match="one run for entities, one for relations"):
        pack([relates, relates], tmp_path / "out", NO_FILES)
    with pytest.raises(SettingError, match="expected a folder outside of the model"):
        pack([relates], relates / "model/out", NO_FILES)
    broken = derived(looks, tmp_path / "run", write_backbone(tmp_path / "x.safetensors"))
    state = load_file(tmp_path / "x.safetensors")
    save_file({**state, "more": torch.zeros(1)}, broken / "backbone.safetensors")
    config = json.loads((broken / "model/config.json").read_text())
    config["pyramids"]["weights"] = digest_of(broken / "backbone.safetensors")
    (broken / "model/config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="unexpected: more"):
        pack([broken], tmp_path / "out", NO_FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "x.safetensors"]
