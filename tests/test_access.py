"""Files that may not be read: called that by whatever reads them, neither damaged nor missing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from features.errors import AccessError, need_readable
from features.pictures import open_picture, picture_size
from features.store import Shard, Store, write_shard
from features.weights import read_state
from pipeline.corpus import locate
from pipeline.corpus.files import crop_names, lines
from pipeline.engine.digests import Digests
from pipeline.engine.locks import in_use, locked
from pipeline.engine.outputs import MANIFEST, damage, read_manifest
from pipeline.grounding import voc
from pipeline.training.encode import load_tokenizer
from pipeline.training.results import needs_pictures
from tests.members import FIRST, SECOND, group_folder, member, only_root

pytestmark = only_root


@pytest.fixture(scope="module")
def closed() -> Iterator[Path]:
    """A member's files, which the other may not read, and folders that the other may not enter."""
    with group_folder() as folder:
        with member(FIRST, umask=0o077):
            fill(folder)
            for path in [p for p in folder.rglob("*") if p.is_dir()]:
                path.chmod(0o700 if path.name.startswith("closed") else 0o755)
        yield folder


def fill(folder: Path) -> None:
    for name in ("output-1", "shards", "closed", "closed shards", "model", "locks", "data/own"):
        (folder / name).mkdir(parents=True)
    rows = np.zeros((1, 4, 2, 2), np.float16)
    for name in ("shards", "closed shards"):
        write_shard(folder / name, [bytes(32)], rows)
    key: dict[str, object] = {"dataset": "", "settings": {}, "sources": {}, "requires": {}}
    manifest = {"fingerprint": "1", "key": key, "files": {"a": "0"}, "made": ""}
    (folder / "output-1" / MANIFEST).write_text(json.dumps(manifest))
    Image.new("RGB", (9, 9)).save(folder / "a.png")
    torch.save({"a": torch.zeros(2)}, folder / "a.pth")
    save_file({"a": torch.zeros(2)}, folder / "a.safetensors")
    (folder / "a.jsonl").write_text("{}\n")
    (folder / "a.xml").write_text("<annotation/>")
    for name in ("config.json", "tokenizer.json"):
        (folder / "model" / name).write_text("{}")
    (folder / "data/own/posts.jsonl").write_text("{}\n")
    (folder / "data/own").rename(folder / "data/closed own")
    with locked(folder, "a", "working"):
        pass


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "manifest": ("output-1/manifest.json", lambda f: read_manifest(f / "output-1")),
    "output": ("output-1/manifest.json", lambda f: damage(f / "output-1", Digests(f / "no"))),
    "folder of outputs": ("closed", lambda f: damage(f / "closed/x-1", Digests(f / "no"))),
    "file": ("a.png", lambda f: Digests(f / "no").of(f / "a.png")),
    "folder": ("closed", lambda f: Digests(f / "no").of_folder(f / "closed")),
    "shard": ("shards/", lambda f: Shard(next((f / "shards").glob("*.h5")))),
    "store": ("shards/", lambda f: Store(f / "shards")),
    "closed store": ("closed shards", lambda f: Store(f / "closed shards")),
    "picture": ("a.png", lambda f: open_picture(f / "a.png")),
    "picture's header": ("a.png", lambda f: picture_size(f / "a.png")),
    "weights": ("a.pth", lambda f: read_state(f / "a.pth")),
    "safetensors": ("a.safetensors", lambda f: read_state(f / "a.safetensors")),
    "texts": ("a.jsonl", lambda f: list(lines(f / "a.jsonl"))),
    "dictionary": ("a.pth", lambda f: crop_names(f / "a.pth", str)),
    "boxes": ("a.xml", lambda f: voc.read_voc(f / "a.xml")),
    "tokenizer": ("model/", lambda f: load_tokenizer(str(f / "model"))),
    "model": ("model/config.json", lambda f: needs_pictures(f / "model")),
    "data set": ("data/closed own", lambda f: locate("closed own", f / "data")),
    "lock": ("locks/a", lambda f: in_use(f, "a")),
}


@pytest.mark.parametrize("name", READERS)
def test_it_is_called_that(name: str, closed: Path) -> None:
    file, read = READERS[name]
    with member(SECOND, umask=0o002), pytest.raises(AccessError) as caught:
        read(closed)
    message = str(caught.value)
    assert message.startswith(str(closed / file))
    assert "may not be read: permission denied" in message
    assert "\n" not in message


def test_what_may_be_read_or_is_missing_is_left_to_its_reader(tmp_path: Path) -> None:
    need_readable(tmp_path)
    need_readable(tmp_path / "missing")
    need_readable("bert-base-uncased")
