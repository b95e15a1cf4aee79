"""Run what the documents say, on a demo of few posts, in one process: torch is imported once.

    python -m tests.run_docs < STEPS > ANSWERS

STEPS is a JSON list of commands (a list of words each) and of Python code (a string each), ANSWERS
one of [exit code, output]. The present folder is empty at first; it gets a post's picture 17.jpg,
posts.jsonl and pictures/, as the commands name them, and store/.
"""

import contextlib
import io
import json
import re
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

import luigi.configuration
import luigi.retcodes
from luigi.task_register import Register

import tasks  # noqa: F401  the tasks that luigi runs, and the project's luigi.cfg
from pipeline.corpus import demo
from pipeline.prediction.cli import app

SIZES = {"train": (2, 1, 4), "val": (1, 1, 2), "test": (1, 1, 2)}  # sentences of each kind
POSTS = 4  # of posts.jsonl, which `hvpnet predict` reads


def prepare() -> None:
    """Make demo and store small and local, and the files that the commands name."""
    demo.SIZES = SIZES
    config = luigi.configuration.get_config()
    config.set("paths", "store", str(Path("store").absolute()))
    config.set("paths", "data", str(Path("data").absolute()))
    demo.write_demo(Path())
    shutil.copy(min(Path("pictures").iterdir()), "17.jpg")
    lines = Path("posts.jsonl").read_text(encoding="utf-8").splitlines()
    Path("posts.jsonl").write_text("\n".join(lines[:POSTS]), encoding="utf-8")


def with_folders(text: str) -> str:
    """Replace `store/STAGE/demo-…` by the newest run of the stage."""

    def newest(name: re.Match[str]) -> str:
        models = Path().glob(f"{name[1]}*/model")
        return str(max(models, key=lambda path: path.stat().st_mtime_ns).parent)

    return re.sub(r"(store/\w+/demo-)…", newest, text)


def run(step: Any) -> tuple[int, str]:
    """Run one step. Returns its exit code, and what it printed and logged."""
    output = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            if isinstance(step, str):
                exec(with_folders(step), {"records": ["Noah and Zoe", {"text": "Globex"}]})
            elif step[0] == "luigi":
                Register.clear_instance_cache()
                luigi.retcodes.run_with_retcodes([*step[1:], "--no-lock"])
            else:
                app([with_folders(word) for word in step[1:]])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:  # noqa: BLE001  the test reports it
            code = 1
            traceback.print_exc()
    return code, output.getvalue()


if __name__ == "__main__":
    prepare()
    print(json.dumps([run(step) for step in json.load(sys.stdin)]))
