"""ImportPosts as people type it: it prints what it wrote, and refuses to replace it."""

import json
from pathlib import Path

from tests.cli import luigi


def test_an_export_is_imported_once(tmp_path: Path) -> None:
    export = tmp_path / "export.jsonl"
    export.write_text(json.dumps({"text": "Ada joins Globex", "label": [[0, 3, "PER"]]}))
    options = ("--dataset", "mine", "--file", str(export), "--format", "doccano")
    paths = {"data": tmp_path / "data", "store": tmp_path / "store"}
    first, again = (luigi("ImportPosts", *options, **paths) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert "1 posts, 1 entities, 0 relations, 0 pictures copied" in first.stdout
    assert again.returncode == 30
    assert "posts.jsonl exists already; give another --dataset, or --overwrite" in again.stderr
    assert "Traceback" not in again.stderr
