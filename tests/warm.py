"""Run Python scripts in processes that don't import torch and transformers again.

    python -m tests.warm

A server imports the libraries, which takes 10 CPU seconds, and then forks a child for each script.
The child is a process like any other: it has its own arguments, folder, streams and exit code, and
it imports Luigi and the tasks itself. What it shares with the other children is the environment
and the seed of hashes.

The server reads one JSON object a line, {"words": the script and its arguments, "cwd", "stdout",
"stderr": paths}, and answers each with the exit code. It ends with its standard input.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

HOME = Path(__file__).resolve().parents[1]
TIMEOUT = 600  # seconds
LIBRARIES = (
    "pipeline.training.train",
    "pipeline.extraction.extract",
    "pipeline.prediction.stored",
    "transformers.models.bert.modeling_bert",
)


def can_run() -> bool:
    """Return True if the environment is the server's: libraries read it when they are imported."""
    return _environment() == _server()[1]


def run(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as `subprocess.run` does, with both streams captured."""
    server, _ = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        streams = {name: str(Path(folder, name)) for name in ("stdout", "stderr")}
        server.stdin.write(json.dumps({"words": words, "cwd": str(cwd), **streams}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        texts = {name: Path(path).read_text() for name, path in streams.items()}
    return subprocess.CompletedProcess(words, code, **texts)


@cache
def _server() -> tuple["subprocess.Popen[str]", dict[str, str]]:
    """Start the server at its first use. Returns it with its environment."""
    command = [sys.executable, "-m", "tests.warm"]
    server = subprocess.Popen(
        command, cwd=HOME, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(server.communicate)  # closes its input
    return server, _environment()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}


def _serve() -> dict[str, Any] | None:
    """Answer requests until there are no more. Returns, in a child, the request to do."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            request: dict[str, Any] = json.loads(line)
            return request
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


def _become(words: list[str], cwd: str, stdout: str, stderr: str) -> None:
    """Make this process that of a script, and run it."""
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, stdout, os.O_WRONLY | os.O_CREAT),
        (2, stderr, os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(path, flags), number)
    signal.alarm(TIMEOUT)
    os.chdir(cwd)
    sys.argv = words
    sys.path[0] = str(Path(words[0]).parent)  # as if Python had been started with the script
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        _leave(end.code)


def _leave(code: int) -> NoReturn:
    """End this process without tearing down the libraries, which takes 0.4 s."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for name in LIBRARIES:
        import_module(name)
    gc.freeze()  # otherwise each child's collections would copy all that was imported
    if (request := _serve()) is not None:
        _become(**request)
