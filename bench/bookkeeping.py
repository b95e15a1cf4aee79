"""Measure the cost of bookkeeping: a run with nothing to do, and an index of many pictures.

    python -m bench.bookkeeping noop [--pictures 40000]
    python -m bench.bookkeeping index [--pictures 1000000]

`noop`: run `luigi --module tasks ExtractPyramid` with all pictures extracted, and compare with a
bare Python process that imports luigi and calls stat on each file once. The pictures are noise of
32×24 pixels and the backbone is small: only the number of pictures matters here.

`index`: with all rows in the store, measure the digests of the folder of pictures and of the
shards, and rebuilding the index after texts changed. Files and rows are generated without pixels,
four rows per picture, and measured for a quarter, a half and all of the pictures.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bench.turns import in_turns
from pipeline.engine.digests import Digests

if TYPE_CHECKING:
    from bench.material import Material

LUIGI = Path(sys.executable).parent / "luigi"
_EXTRACTION = {"weights": "random", "backbone": "resnet18", "size": "64", "pooling": "adaptive"}
OPTIONS = [f"--ExtractPyramid-{name}={value}" for name, value in _EXTRACTION.items()]
OPTIONS += ["--GroundCrops-grounder=none", "--GroundCrops-phrases=none"]
TRAINING = ["--encoder=scratch", "--epochs=1"]
BARE = "import luigi, os, sys\nfor f in open(sys.argv[1]).read().split(): os.stat(f)"
RUNS = 7


def noop(pictures: int, root: Path) -> None:
    """Print both times and their ratio, the median of RUNS pairs."""
    files = _write_mnre(root / "data", pictures)
    (root / "files").write_text("\n".join(files))
    command = _command("ExtractPyramid", root)
    subprocess.run(command, check=True)
    bare = [sys.executable, "-c", BARE, str(root / "files")]
    times = [(_seconds(command), _seconds(bare)) for _ in range(RUNS)]
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(a / b for a, b in times)
    print(f"{pictures:,} pictures, all done: {ours:.3f} s; bare: {theirs:.3f} s; ratio {ratio:.2f}")


def train_noop(material: "Material", device: str) -> dict[str, Any]:
    """`luigi --module tasks TrainRE` with nothing to do, 9,201 pictures : `import luigi`."""
    from bench.material import MNRE_PICTURES  # not at the top: `index` measures memory

    _write_mnre(material.root / "data", MNRE_PICTURES)
    command = _command("TrainRE", material.root, *TRAINING)
    subprocess.run(command, check=True, capture_output=True)
    bare = [sys.executable, "-c", "import luigi"]
    return {**in_turns(lambda: _seconds(command), lambda: _seconds(bare), rounds=RUNS), "unit": "s"}


def _command(task: str, root: Path, *more: str) -> list[str]:
    paths = [f"--paths-data={root / 'data'}", f"--paths-store={root / 'store'}"]
    return [str(LUIGI), "--module", "tasks", task, *OPTIONS, *paths, *more]


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def _write_mnre(data: Path, pictures: int) -> list[str]:
    """Write texts in MNRE's format and a picture per line. Returns the pictures' paths."""
    folder = data / "mnre/pictures"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    splits = ("train", "train", "train", "val", "test")
    texts: dict[str, list[str]] = {split: [] for split in splits}
    for n in range(pictures):
        pixels = noise.integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.jpg")
        post = {"token": ["Ada", "met", "Bob"], "img_id": f"{n}.jpg", "relation": "/per/per/peer"}
        ends = {"h": {"pos": [0, 1]}, "t": {"pos": [2, 3]}}
        texts[splits[n % len(splits)]].append(repr(post | ends))
    for split, lines in texts.items():
        (data / f"mnre/{split}.txt").write_text("\n".join(lines) + "\n")
    return [str(folder / f"{n}.jpg") for n in range(pictures)]


def index(pictures: int, root: Path) -> None:
    """Print time and memory of each part for a quarter, a half and all of the pictures."""
    print(f"{'pictures':>10}  {'part':34}{'seconds':>9}{'GiB':>7}")
    for part in (pictures // 4, pictures // 2, pictures):
        folder = root / str(part)
        (folder / "pictures").mkdir(parents=True)
        for n in range(part):
            (folder / f"pictures/{n}.jpg").touch()
        for name in PARTS:  # each in its own process, to measure its memory
            command = [sys.executable, "-m", "bench.bookkeeping", "part", name, str(folder)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            seconds, size = json.loads(output.splitlines()[-1])
            print(f"{part:>10,}  {name:34}{seconds:>9.2f}{size:>7.2f}", flush=True)


def _generate(folder: Path) -> None:
    from bench import generated

    generated.write_rows(folder)


def _look(folder: Path) -> None:
    digests = Digests(folder / "digests.sqlite")
    digests.of_folder(folder / "pictures")
    digests.of_all(map(str, sorted((folder / "rows").glob("*.h5"))))


def _index(folder: Path) -> None:
    from bench import generated

    generated.index(folder)


PARTS: dict[str, Callable[[Path], None]] = {
    "(generating rows)": _generate,
    "first digests of files and shards": _look,
    "the same again, nothing to do": _look,
    "rebuild index, all rows stored": _index,
}


def main() -> None:
    """Run the measure that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["noop", "index", "part"])
    parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--pictures", type=int)
    given = parser.parse_args()
    if given.what == "part":
        name, folder = given.more
        started = time.perf_counter()
        PARTS[name](Path(folder))
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps([time.perf_counter() - started, size]))
        return
    with tempfile.TemporaryDirectory() as root:
        if given.what == "noop":
            noop(given.pictures or 40_000, Path(root))
        else:
            index(given.pictures or 1_000_000, Path(root))


if __name__ == "__main__":
    main()
