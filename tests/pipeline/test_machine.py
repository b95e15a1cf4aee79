"""The fastest precision of a machine, as read from its system files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import machine as precision
from pipeline.machine import well_done


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine without system files; returns the folder for them."""
    monkeypatch.setattr(precision, "_CPU", tmp_path / "cpuinfo")
    monkeypatch.setattr(precision, "_GPUS", tmp_path / "gpus")
    monkeypatch.setattr(precision, "_PCI", tmp_path / "pci")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    well_done.cache_clear()
    yield tmp_path
    well_done.cache_clear()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 sse", "bfloat16"),
        ("flags\t\t: fpu amx_bf16 amx_tile", "bfloat16"),
        ("Features\t: fp asimd bf16", "bfloat16"),
        ("flags\t\t: fpu avx512f avx512_fp16", "float32"),
        ("model name\t: a CPU for avx512_bf16", "float32"),
    ],
)
def test_cpu(line: str, expected: str, machine: Path) -> None:
    (machine / "cpuinfo").write_text(f"processor\t: 0\n{line}\nprocessor\t: 1\n")
    assert well_done("cpu") == well_done("auto") == expected


def test_machine_without_system_files() -> None:
    assert well_done("auto") == "float32"
    assert well_done("cuda") == "bfloat16"  # on request; the device is checked when it is used


def test_gpu_and_hidden_gpu(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "gpus/0000:01:00.0").mkdir(parents=True)
    assert (well_done("auto"), well_done("cpu")) == ("bfloat16", "float32")
    well_done.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert well_done("auto") == "float32"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("0x1db6", "float32"),  # V100
        ("0x1eb8", "float32"),  # T4
        ("0x21c4", "float32"),  # GTX 1660 SUPER
        ("0x20b5", "bfloat16"),  # A100
        ("0x2684", "bfloat16"),  # RTX 4090
        ("0x2330", "bfloat16"),  # H100
    ],
)
def test_gpus_before_ampere_do_float32(number: str, expected: str, machine: Path) -> None:
    for folder in ("gpus", "pci"):
        (machine / folder / "0000:01:00.0").mkdir(parents=True)
    (machine / "pci/0000:01:00.0/device").write_text(f"{number}\n")
    assert well_done("auto") == well_done("cuda") == expected
