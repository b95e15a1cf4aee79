"""Commands of a warm process do and say what those of a cold one do."""

import subprocess
from pathlib import Path

import pytest

from tests import warm
from tests.cli import HOME, LUIGI

SCRIPT = """
import os, sys
import beside
print(sys.argv[1:], os.getcwd(), "torch" in sys.modules, "luigi" in sys.modules, __name__)
{}
"""


def run(folder: Path, end: str) -> subprocess.CompletedProcess[str]:
    """Run a script in `folder` that says what it sees and ends with the code `end`."""
    (folder / "beside.py").touch()
    (folder / "script.py").write_text(SCRIPT.format(end))
    return warm.run([str(folder / "script.py"), "a", "b"], folder)


@pytest.mark.parametrize(
    ("end", "code", "error"),
    [
        ("", 0, ""),
        ("print('why', file=sys.stderr); sys.exit(3)", 3, "why\n"),
        ("sys.exit('why')", 1, "why\n"),
        ("raise ValueError('why')", 1, "ValueError: why\n"),
        ("print(end='', flush=True); os.kill(os.getpid(), 9)", -9, ""),
    ],
    ids=["end", "exit", "message", "traceback", "kill"],
)
def test_a_script_is_a_process_like_any_other(
    end: str, code: int, error: str, tmp_path: Path
) -> None:
    done = run(tmp_path, end)
    assert done.returncode == code
    assert done.stdout == f"['a', 'b'] {tmp_path} True False __main__\n"
    assert done.stderr == error or done.stderr.endswith(f"\n{error}")


@pytest.mark.parametrize("words", [("Recipes",), ("ReadPosts",)])
def test_a_command_says_the_same_warm_and_cold(words: tuple[str, ...], tmp_path: Path) -> None:
    command = [str(LUIGI), "--module", "tasks", *words, "--paths-data", str(tmp_path)]
    cold = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
    hot = warm.run(command, HOME)
    assert (hot.returncode, hot.stdout, hot.stderr) == (cold.returncode, cold.stdout, cold.stderr)


def test_a_script_has_the_present_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLOUR", "red")
    done = run(tmp_path, "print(os.environ['COLOUR'])")
    assert done.stdout.endswith("\nred\n"), done.stderr


def test_what_libraries_read_at_import_needs_a_cold_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert warm.can_run()
    monkeypatch.setenv("HF_HUB_OFFLINE", "2")
    assert not warm.can_run()
