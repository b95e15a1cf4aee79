"""Cached answers: read back, damaged, in a read-only file, after a killed run."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.engine.answers import Answers
from tests.cli import HOME
from tests.members import FIRST, SECOND, group_folder, member, only_root

KEPT = {f"{n:064x}": f"answer {n}" for n in range(100)}


def filled(path: Path) -> Path:
    with Answers(path) as answers:
        answers.put(KEPT)
    return path


def test_answers_are_read_back_by_the_next_run(tmp_path: Path) -> None:
    with Answers(filled(tmp_path / "answers.sqlite")) as answers:
        assert {key: answers.get(key) for key in KEPT} == KEPT
        assert answers.get("f" * 64) is None


def test_an_answer_is_returned_before_it_is_written(tmp_path: Path) -> None:
    with Answers(tmp_path / "answers.sqlite") as answers:
        answers.put({"a": "1"})
        answers.put({"b": "2"})
        assert (answers.get("a"), answers.get("b")) == ("1", "2")
        with closing(sqlite3.connect(tmp_path / "answers.sqlite")) as file:
            assert file.execute("select count(*) from answers").fetchone() == (0,)


@pytest.mark.parametrize("change", ["answer='answer 8'", "crc=crc+1", "key='of another'"])
def test_a_damaged_answer_is_not_returned(
    change: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, (key, *others) = filled(tmp_path / "answers.sqlite"), KEPT
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(f"update answers set {change} where key=?", [key])
    with Answers(path) as answers:
        damaged = "of another" if change.startswith("key") else key
        assert answers.get(damaged) is None
        assert all(answers.get(other) == KEPT[other] for other in others)
    assert f"answers.sqlite: a damaged answer is computed again: {damaged[:16]}" in caplog.text


@only_root
def test_answers_stay_in_memory_if_the_file_is_read_only() -> None:
    with group_folder() as folder:
        with member(FIRST, umask=0o022):
            filled(folder / "answers.sqlite")
        with member(SECOND, umask=0o022), Answers(folder / "answers.sqlite") as answers:
            answers.SECONDS = 0.0
            for n in range(3):
                answers.put({f"new {n}": str(n)})
            assert [answers.get(f"new {n}") for n in range(3)] == ["0", "1", "2"]
            assert answers.get(f"{7:064x}") == "answer 7"


KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.engine.answers import Answers
answers = Answers(Path(sys.argv[1]))
answers.SECONDS = 0.0
answers.put({"a": "1"})
answers.SECONDS = 1e9
answers.put({"b": "2"})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_loses_only_unwritten_answers(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    environment = os.environ | {"PYTHONPATH": str(HOME)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment)
    assert done.returncode == -9
    with Answers(path) as answers:
        assert (answers.get("a"), answers.get("b")) == ("1", None)
