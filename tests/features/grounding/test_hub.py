"""Models of the hub as folders: cached, fetched, or reported as missing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from features.grounding.hub import is_cached, lacks, model_folder
from features.weights import WeightsError
from tests.tiny_detectors import write_owlv2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_owlv2(tmp_path_factory.mktemp("owlv2"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty cache of the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the hub fail without waiting for its answer."""

    def fail(self: object, name: str, timeout: float) -> None:
        assert timeout <= 10
        raise LocalEntryNotFoundError("no network\nat all")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)


def put(model: Path, cache: Path) -> Path:
    """Put the model into the cache as a/b of the hub. Returns its snapshot."""
    folder = cache / "models--a--b"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("5f3c")
    return Path(shutil.copytree(model, folder / "snapshots/5f3c"))


def never(*args: object, **kwargs: object) -> None:
    raise AssertionError("the hub was contacted")


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert model_folder(str(tmp_path)) == tmp_path
    assert is_cached(str(tmp_path))


def test_a_whole_snapshot_needs_no_network(
    model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", never)
    snapshot = put(model, cache)
    assert is_cached("a/b")
    assert model_folder("a/b") == snapshot


def test_a_snapshot_without_weights_is_not_cached(model: Path, cache: Path, offline: None) -> None:
    (put(model, cache) / "model.safetensors").unlink()
    assert not is_cached("a/b")
    with pytest.raises(WeightsError, match="not in the hub's cache"):
        model_folder("a/b")


def test_a_snapshot_without_one_of_its_shards_is_not_cached(
    model: Path, cache: Path, offline: None
) -> None:
    """A killed download may leave the index of the shards without all of them."""
    snapshot = put(model, cache)
    shard = snapshot / "model-00001-of-00002.safetensors"
    (snapshot / "model.safetensors").rename(shard)
    names = {"a": shard.name, "b": "model-00002-of-00002.safetensors"}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert lacks(snapshot) == [names["b"]]
    assert not is_cached("a/b")
    (snapshot / names["b"]).touch()
    assert is_cached("a/b")


@pytest.mark.parametrize("name", ["a/b", "/no/such/folder", "../b", "a b"])
def test_a_missing_model_is_not_cached(name: str, cache: Path, offline: None) -> None:
    assert not is_cached(name)
    with pytest.raises(WeightsError) as error:
        model_folder(name)
    message = str(error.value)
    assert message.startswith(
        f"grounder weights {name!r}: no such folder, not in the hub's cache on"
    )
    assert message.endswith("give --weights FOLDER of the model, or use --grounder salience")
    assert "\n" not in message


def test_an_unreachable_hub_is_reported_in_one_line(cache: Path, offline: None) -> None:
    with pytest.raises(WeightsError, match=r"and can't be fetched \(no network at all\); give"):
        model_folder("a/b")


def test_a_model_that_is_not_cached_is_fetched(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(name: str, allow_patterns: list[str]) -> str:
        assert "*.safetensors" in allow_patterns
        return f"fetched {name}"

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, timeout: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert model_folder("a/b") == Path("fetched a/b")


def test_asking_for_the_cache_imports_nothing_heavy() -> None:
    code = "import sys; from features.grounding.hub import is_cached; is_cached('a/b')"
    code += "; print(sorted({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    run = [sys.executable, "-c", code]
    folder = Path(__file__).resolve().parents[3]
    done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=folder)
    assert done.stdout.strip() == "['huggingface_hub']"
