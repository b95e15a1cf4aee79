"""Terminals and locales other than UTF-8: file names stay UTF-8, output is escaped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipeline.engine import console
from tests.cli import HOME, LUIGI, outputs

ASCII = {
    "output": {"PYTHONIOENCODING": "ascii:strict"},
    "locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""},
}


@pytest.mark.parametrize("kind", ASCII)
def test_no_command_fails(kind: str, tmp_path: Path) -> None:
    pictures = tmp_path / "fête" / "pictures"
    pictures.mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(pictures / "é.png")
    post = {"id": 1, "split": "train", "tokens": ["naïve"], "picture": "é.png"}
    (tmp_path / "fête" / "posts.jsonl").write_text(json.dumps(post))

    def run(*words: str) -> str:
        command = [str(LUIGI), "--module", "tasks", *words, "--dataset", "fête"]
        paths = ["--paths-data", str(tmp_path), "--paths-store", str(tmp_path / "störe")]
        done = subprocess.run(
            [*command, *paths], cwd=HOME, env=os.environ | ASCII[kind], capture_output=True
        )
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        return done.stdout.decode("ascii")

    run("GroundCrops", "--grounder", "none")
    folder = outputs(tmp_path / "störe", "GroundCrops")[0]
    assert json.loads((folder / "report.json").read_text())["problems"] == {}
    status = run("Status", "--GroundCrops-grounder", "none", "--GroundCrops-max-crops", "1")
    assert "max_crops 3 \\u2192 1" in status


def test_a_command_starts_again_where_file_names_are_not_utf8(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    monkeypatch.setattr(sys, "orig_argv", ["python", "luigi", "--module", "tasks"])
    monkeypatch.setenv("PYTHONIOENCODING", "")
    console._use_utf8()
    assert started == []
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    console._use_utf8()
    assert started == [[sys.executable, "-X", "utf8", "luigi", "--module", "tasks"]]
    assert os.environ["PYTHONIOENCODING"].endswith(":backslashreplace")
    monkeypatch.setattr(sys, "_xoptions", {"utf8": "0"})  # once is enough
    console._use_utf8()
    assert len(started) == 1
