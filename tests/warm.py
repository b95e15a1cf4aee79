"""Run Python scripts in processes that don't import torch and transformers again.

    python -m tests.warm

A server imports the libraries, which takes 10 CPU seconds, and then forks a child for each script.
The child is a process like any other: it has its own arguments, folder, environment, streams and
exit code, and it imports Luigi and the tasks itself. All children share one seed of hashes.

The server reads one JSON object a line, the arguments of `_become`, and answers each with the exit
code. It ends with its standard input.
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
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

HOME = Path(__file__).resolve().parents[1]
TIMEOUT = 600  # seconds
LIBRARIES = (  # modules that import them
    "pipeline.training.train",
    "pipeline.extraction.extract",
    "pipeline.prediction.stored",
    "transformers.models.bert.modeling_bert",
)
READ_AT_IMPORT = ("HF_", "TRANSFORMERS_", "TORCH_", "OMP_", "PYTHON")  # begin variables' names
ENVIRONMENT = dict(os.environ)  # before any test changes it


def can_run() -> bool:
    """Return True unless a variable that the libraries read at import has been changed."""
    return _read_at_import(os.environ) == _read_at_import(ENVIRONMENT)


def _read_at_import(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_IMPORT)}


def run(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as `subprocess.run` does, with both streams captured.

    words: the script's path and its arguments.
    """
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        streams = {name: str(Path(folder, name)) for name in ("stdout", "stderr")}
        request = {"words": words, "cwd": str(cwd), "environment": dict(os.environ), **streams}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        texts = {name: Path(path).read_text() for name, path in streams.items()}
    return subprocess.CompletedProcess(words, code, **texts)


@cache
def _server() -> "subprocess.Popen[str]":
    """Start the server, at its first use."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.warm"],
        cwd=HOME,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)  # closes its input
    return server


# --- in the server


def _serve() -> dict[str, Any] | None:
    """Answer requests until there are no more. Returns, in a child, the request to do."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            request: dict[str, Any] = json.loads(line)
            return request
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


def _become(
    words: list[str], cwd: str, environment: dict[str, str], stdout: str, stderr: str
) -> None:
    """Make this process that of a script, and run it."""
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, stdout, os.O_WRONLY | os.O_CREAT),
        (2, stderr, os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(path, flags), number)
    signal.alarm(TIMEOUT)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
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
