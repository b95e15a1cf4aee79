"""Commands that are killed at any moment, or run at once: is the store right, and no work lost?

    python -m tests.crash {extract,ground,describe,train,concurrent,all} [--kills 100] [--polite 10]

The real command line runs in new stores and is ended by SIGKILL, SIGTERM or SIGINT again and again,
until it ends by itself; then all is compared with an undisturbed run's. Prints a line a kill and a
table; exits 1 if anything is wrong. Imports no torch: the commands do.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL, SIGSTOP, SIGTERM

import numpy as np
from PIL import Image

from features.store import Shard, StoreError
from pipeline.corpus.demo import write_demo
from tests.cli import HOME, LUIGI, outputs

OPTIONS = (
    *("--GroundCrops-grounder", "salience", "--GroundCrops-phrases", "types"),
    *("--ExtractPyramid-weights", "random", "--ExtractPyramid-backbone", "resnet18"),
    *("--ExtractPyramid-size", "64", "--ExtractPyramid-device", "cpu"),
    *("--TrainRE-encoder", "scratch", "--TrainRE-epochs", "4", "--TrainRE-evaluate-from", "1"),
    *("--TrainRE-learning-rate", "1e-3", "--TrainRE-head-learning-rate", "1e-3"),
    *("--TrainRE-device", "cpu"),
    *("--DescribePictures-describer", "ocr", "--DescribePictures-batch-size", "2"),
)
STAGES = ("ReadPosts", "GroundCrops", "ExtractPyramid", "DescribePictures", "TrainRE")
OWN, OTHER = "own", "other"
PATIENCE = 5.0  # seconds that a command may take to end when it is told to
BEGUN = 0.7  # seconds until a command surely handles signals itself: before, Python is starting
TOO_LONG = 300.0

Moment = float | str  # seconds, or a pattern that the log or a new file's name is to hold


class Command:
    """`luigi --module tasks TASK` under way, in a process group of its own."""

    def __init__(
        self, task: str, data: Path, store: Path, dataset: str, env: Mapping[str, str]
    ) -> None:
        self._store, self._before = store, names(store)
        # A shell's background job ignores Ctrl-C, and what it starts would too.
        signal.signal(SIGINT, signal.default_int_handler)
        command = [*luigi_command(task, data, store), "--dataset", dataset]
        with tempfile.NamedTemporaryFile(dir=store.parent, suffix=".log", delete=False) as file:
            self._log = Path(file.name)
            self.process = subprocess.Popen(
                command,
                cwd=HOME,
                env=env,
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return self._log.read_text()

    def end(self) -> int:
        """Wait for its end; its exit status."""
        try:
            return self.process.wait(TOO_LONG)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, SIGKILL)
            return self.process.wait()

    def wait_for(self, moment: Moment) -> str | None:
        """Wait; what has come, in words. None where it ended before."""
        started = time.monotonic()
        while self.process.poll() is None and time.monotonic() - started < TOO_LONG:
            if isinstance(moment, str):
                new = names(self._store) - self._before
                hits = [name for name in new if re.search(moment, name)]
                if hits or re.search(moment, self.log):
                    return f"{min(hits)} appeared" if hits else f"it said {moment!r}"
            elif time.monotonic() - started >= moment:
                return f"{moment:.2f} s passed"
            time.sleep(0.002)
        return None

    def tell(self, number: signal.Signals) -> list[str]:
        """Send it a signal; what is wrong with how it ends."""
        self.process.send_signal(number)
        until = time.monotonic() + PATIENCE
        while (lives := self._group_lives()) and time.monotonic() < until:
            time.sleep(0.005)
        if lives:
            os.killpg(self.process.pid, SIGKILL)
        wrong = [f"{PATIENCE} s after {number.name} a process is alive"] if lives else []
        return wrong + (["a traceback"] if "Traceback" in self.log else [])

    def _group_lives(self) -> bool:
        self.process.poll()  # a dead child that nobody asks for counts as alive
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


def luigi_command(task: str, data: Path, store: Path) -> list[str]:
    """The words of a command on all small settings."""
    paths = ["--paths-data", str(data), "--paths-store", str(store)]
    return [str(LUIGI), "--module", "tasks", task, *OPTIONS, *paths]


def names(folder: Path) -> set[str]:
    """All files and folders below a folder, by their path in it."""
    return {
        os.path.relpath(os.path.join(where, name), folder)
        for where, inside, files in os.walk(folder)
        for name in (*inside, *files)
    }


# --- the data, and what is in a store


def make_data(root: Path, posts: Sequence[int]) -> None:
    """Data set `own` of so many posts a split, and `other`: half of them and as many new ones.

    The pictures that both have are in files of other names.
    """
    write_demo(root / "pool")
    pool = [json.loads(line) for line in (root / "pool/posts.jsonl").read_text().splitlines()]
    for name, shift in ((OWN, 0), (OTHER, 0.5)):
        (root / name / "pictures").mkdir(parents=True)
        with (root / name / "posts.jsonl").open("w") as file:
            for split, count in zip(("train", "val", "test"), posts, strict=True):
                there = [post for post in pool if post["split"] == split and "picture" in post]
                first = round(shift * count)
                for post in there[first : first + count]:
                    picture = f"{name}-{post['picture']}"
                    with Image.open(root / "pool/pictures" / post["picture"]) as image:
                        image.resize((160, 120)).save(root / name / "pictures" / picture)
                    file.write(json.dumps(post | {"picture": picture}) + "\n")


READER = """
import time
from types import SimpleNamespace

class RapidOCR:
    def __init__(self, params):
        pass

    def __call__(self, picture):
        time.sleep(0.02)
        colour = picture.resize((1, 1)).getpixel((0, 0))
        return SimpleNamespace(txts=[str(colour)], boxes=[[[0, 0], [9, 0], [9, 9], [0, 9]]])
"""


def write_reader(folder: Path) -> None:
    """Packages in place of RapidOCR's, which read a picture's colour: quick, and no torch."""
    for name, content in (("rapidocr", READER), ("onnxruntime", "")):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(content)
    about = folder / "rapidocr-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rapidocr\nVersion: 1.0\n")


def rows_of(store: Path) -> dict[bytes, bytes]:
    """Every row by its key. Raises StoreError for a damaged shard, or a row that is there twice."""
    rows: dict[bytes, bytes] = {}
    for path in store.glob("pyramids/*/*.h5"):
        shard = Shard(path)
        keys = [key.tobytes() for key in shard.keys]
        if shard.verify() or rows.keys() & set(keys):
            raise StoreError(f"{path.name}: wrong CRCs, or rows that another shard has")
        rows |= {key: row.tobytes() for key, row in zip(keys, shard.map_rows(), strict=True)}
    return rows


def index_of(store: Path, dataset: str = OWN) -> list[bytes | None]:
    """The key of the absent row, then of each slot of each post; None where there is no region."""
    folder = output(store, "ExtractPyramid", dataset)
    about = json.loads((folder / "pyramids.json").read_text())
    keys = [Shard(store / "pyramids" / about["rows"] / name).keys for name in about["shards"]]
    places = [about["absent"], *np.load(folder / "index.npy").reshape(-1, 2)]
    return [None if shard < 0 else keys[shard][row].tobytes() for shard, row in places]


def output(store: Path, stage: str, dataset: str = OWN) -> Path:
    """The one whole output of a stage and data set."""
    [folder] = (f for f in outputs(store, stage) if f.name.startswith(f"{dataset}-"))
    return folder


def whole(folder: Path) -> bool:
    """Whether an output is complete, by our own reading of its manifest."""
    try:
        files = json.loads((folder / "manifest.json").read_text())["files"]
        found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    except (OSError, ValueError):
        return False
    return bool(found == files)


def stamps(paths: Sequence[Path]) -> dict[str, tuple[int, int]]:
    """Which file each is, and when it was written."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


@dataclass
class Trials:
    """A folder with data, the store of an undisturbed run, and new stores."""

    root: Path
    posts: Sequence[int]
    seconds: dict[str, float] = field(default_factory=dict)  # that undisturbed commands took
    stores: int = 0

    def __post_init__(self) -> None:
        self.data, self.reference = self.root / "data", self.root / "reference"
        make_data(self.data, self.posts)
        write_reader(self.root / "packages")
        self.env = os.environ | {"PYTHONPATH": str(self.root / "packages")}

    def start(self, task: str, store: Path, dataset: str = OWN) -> Command:
        """Start a command."""
        return Command(task, self.data, store, dataset, self.env)

    def undisturbed(self, task: str, store: Path, dataset: str = OWN) -> None:
        """Run a command to its end; it must succeed."""
        started = time.monotonic()
        command = self.start(task, store, dataset)
        assert command.end() == 0, command.log
        self.seconds.setdefault(task, time.monotonic() - started)

    def new_store(self, without: str = "") -> Path:
        """An empty store, or a copy of the reference without a stage."""
        self.stores += 1
        store = self.root / f"store{self.stores}"
        if without:
            return Path(
                shutil.copytree(self.reference, store, ignore=shutil.ignore_patterns(without))
            )
        store.mkdir()
        return store

    def wrong_status(self, store: Path) -> list[str]:
        """What Status says that is not so."""
        command = [*luigi_command("Status", self.data, store), "--dataset", OWN]
        done = subprocess.run(command, cwd=HOME, env=self.env, capture_output=True, text=True)
        if done.returncode or "Traceback" in done.stderr:
            return [f"Status fails: {done.stderr[-500:]}"]
        wrong = []
        for stage in STAGES:
            folders = list((store / stage).glob(f"{OWN}-*"))
            if (f"{stage} is fresh" in done.stdout) != (bool(folders) and all(map(whole, folders))):
                wrong.append(f"Status on {stage}: not what is found in its folder")
        return wrong

    def wrong_store(self, store: Path, rows: bool = True) -> list[str]:
        """What is not as in the reference after a successful end; rows: whether it has the same."""
        left = [n for n in names(store) if re.search(r"(^|/)\.[^/]*\.(tmp|partial)$", n)]
        wrong = [f"left behind: {left}"] if left else []
        if outputs(store, "ExtractPyramid"):
            same = index_of(store) == index_of(self.reference)
            wrong += [] if same else ["the index differs"]
            same = not rows or rows_of(store) == rows_of(self.reference)
            wrong += [] if same else ["rows differ"]
        for stage, file in (
            ("GroundCrops", "crops.jsonl"),
            ("DescribePictures", "texts.jsonl"),
            ("DescribePictures", "index.npy"),
            ("TrainRE", "model/model.safetensors"),
            ("TrainRE", "predictions.jsonl"),
        ):
            if outputs(store, stage):
                ours, theirs = (output(each, stage) / file for each in (store, self.reference))
                wrong += [] if ours.read_bytes() == theirs.read_bytes() else [f"{file} differs"]
        return wrong + self.wrong_status(store)


# --- what is done, and how much of it is there


@dataclass(frozen=True)
class Job:
    """A command whose work has units that are kept one by one.

    have: units that a store surely holds. said: units that a run, by its log, works on, if it came
    so far; exact: never fewer than are missing, either.
    aims: patterns in names of new files, or in the log, at which it is killed.
    without: the stage that new stores lack; else they are empty.
    """

    task: str
    unit: str
    total: int
    have: Callable[[Path], int]
    said: Callable[[str], int | None]
    aims: Sequence[str]
    without: str = ""
    exact: bool = True


def extraction(world: Trials) -> Job:
    """Rows; a run keeps whole shards of them."""
    wanted = rows_of(world.reference).keys() - {index_of(world.reference)[0]}
    return Job(
        "ExtractPyramid",
        "rows",
        len(wanted),
        lambda store: len(wanted & rows_of(store).keys()),
        lambda log: _number(r"computing (\d+) rows of \d+ files", log),
        ("h5.*tmp$", "h5$", "partial$", "index.npy", "report.json$", "manifest", "computing"),
    )


def grounding(world: Trials) -> Job:
    """Answers of the grounder."""
    return Job(
        "GroundCrops",
        "answers",
        _answers(world.reference, "boxes"),
        lambda store: _answers(store, "boxes"),
        lambda log: _number(r"pictures grounded now: (\d+) by", log),
        ("locks/G", "partial$", "boxes.sqlite$", "sqlite-journal", "crops.jsonl", "manifest"),
    )


def describing(world: Trials) -> Job:
    """Texts of pictures."""
    return Job(
        "DescribePictures",
        "texts",
        _answers(world.reference, "descriptions"),
        lambda store: _answers(store, "descriptions"),
        lambda log: _number(r"(\d+) described now", log),
        (
            *("locks/D", "partial$", "descriptions.sqlite$", "sqlite-journal", "texts.jsonl"),
            *("index.npy", "about.json", "report.json$", "manifest"),
        ),
    )


def _answers(store: Path, name: str) -> int:
    file = store / f"{name}.sqlite"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file)) as answers:
        tables = answers.execute("select name from sqlite_master where type='table'").fetchall()
        counts = (answers.execute(f"select count(*) from {table}") for [table] in tables)
        return sum(count.fetchone()[0] for count in counts)


def training(_: Trials) -> Job:
    """Epochs, each with a checkpoint that is sealed."""

    def said(log: str) -> int | None:
        first = _number(r"epoch (\d)/4", log)
        return None if first is None else 5 - first

    files = "checkpoints/ optimizer.pt trainer_state.json digests.json predictions.jsonl model/"
    ending = "model.safetensors metrics.json.tmp metrics.json$ manifest.json.tmp manifest.json$"
    aims = ("epoch 3", "epoch 4", *files.split(), *ending.split())
    return Job("TrainRE", "epochs", 4, _epochs, said, aims, "TrainRE", exact=False)


def _epochs(store: Path) -> int:
    if any(store.glob("TrainRE/*/metrics.json")):  # all that is left is to tidy up
        return 4
    sealed = store.glob("TrainRE/.*/checkpoints/checkpoint-*/digests.json")
    states = [json.loads((seal.parent / "trainer_state.json").read_text()) for seal in sealed]
    return max((round(state["epoch"]) for state in states), default=0)


def _number(pattern: str, log: str) -> int | None:
    found = re.search(pattern, log)
    return int(found[1]) if found else None


# --- killing


@dataclass
class Tally:
    """What happened."""

    what: str
    units: int = 0  # of a whole run
    kills: Counter[str] = field(default_factory=Counter)
    stores: int = 0
    runs: int = 0
    again: int = 0  # units that were kept and yet worked on again
    wrong: list[str] = field(default_factory=list)

    def note(self, told: str, wrong: Sequence[str]) -> None:
        """Print one line of what was done, and what is wrong."""
        line = f"{self.what} store {self.stores} run {self.runs}: {told}"
        print(f"{line}; {'; '.join(wrong) or 'ok'}", flush=True)
        self.wrong += [f"{line}; {one}" for one in wrong]


Kill = tuple[signal.Signals, Moment]  # not seconds, but a share of those that are left


def drawn(job: Job, kills: int, polite: int, chance: random.Random) -> list[Kill]:
    """So many SIGKILLs, and so many each of SIGTERM and SIGINT, at moments of all kinds."""
    signals = [SIGKILL] * kills + [SIGTERM, SIGINT] * polite
    chance.shuffle(signals)
    plan: list[Kill] = []
    for turn, number in enumerate(signals):  # each third lives long enough to get on
        share = chance.uniform(0.5, 1.1) if turn % 3 == 0 else chance.uniform(0, 1)
        plan.append((number, chance.choice(job.aims) if chance.random() < 0.4 else share))
    return plan


def crash(world: Trials, job: Job, plan: Sequence[Kill], chance: random.Random) -> Tally:
    """Kill runs by the plan, over as many stores as it takes; the last run of each ends."""
    tally, waiting = Tally(job.task, job.total), list(plan)
    while waiting and len(tally.wrong) < 20:
        store = world.new_store(job.without)
        tally.stores += 1
        while not _ends(world, job, store, waiting, tally, chance):
            pass
        shutil.rmtree(store)
    return tally


def _ends(
    world: Trials, job: Job, store: Path, waiting: list[Kill], tally: Tally, chance: random.Random
) -> bool:
    """One run, killed unless it ends before. Whether the store is done with."""
    tally.runs += 1
    have, shards = job.have(store), stamps([*store.glob("pyramids/*/*.h5")])
    number, moment = waiting[0] if waiting else (SIGKILL, TOO_LONG)
    if isinstance(moment, float):  # imports and the like are never less than they were
        moment *= world.seconds[job.task] * (1 - 0.6 * have / job.total)
        moment = max(moment, 0.0 if number == SIGKILL else BEGUN)
    started = time.monotonic()
    command = world.start(job.task, store)
    came = command.wait_for(moment)
    wrong = command.tell(number) if came else []
    ended = command.end() == 0
    if ended and not have:
        world.seconds[job.task] = time.monotonic() - started
    if ended and waiting:  # it was quicker: kill another one, earlier
        waiting[0] = number, chance.uniform(0, 0.9)
    elif not ended and waiting and came:
        tally.kills[number.name] += 1
        del waiting[0]
    elif not ended:
        wrong.append(f"it fails: {command.log[-500:]}")
    said, missing = job.said(command.log), job.total - have
    if said is not None and (said > missing or (job.exact and said < missing)):
        wrong.append(f"works on {said} {job.unit}, though {have} of {job.total} were kept")
        tally.again += max(0, said - missing)
    if not shards.items() <= stamps([*store.glob("pyramids/*/*.h5")]).items():
        wrong.append("a shard was removed or written again")
    try:
        rows_of(store)
    except StoreError as error:
        wrong.append(str(error))
    wrong += world.wrong_status(store)
    if ended and not outputs(store, job.task):
        wrong.append("there is no output")
    if ended and not wrong:
        wrong += world.wrong_store(store) + _renamed(world, job, store)
    how = f"{number.name} when {came}" if came and not ended else "ended by itself"
    tally.note(f"{have} of {job.total} {job.unit} kept before; {how}", wrong)
    return ended or bool(wrong)


def _renamed(world: Trials, job: Job, store: Path) -> list[str]:
    """What is wrong with a run that has only to rename what a killed one made."""
    folder = output(store, job.task)
    folder.rename(folder.with_name(f".{folder.name}.partial"))
    before = stamps([*folder.with_name(f".{folder.name}.partial").rglob("*")])
    command = world.start(job.task, store)
    good = command.end() == 0 and job.said(command.log) is None
    same = folder.exists() and stamps([*folder.rglob("*")]) == before
    return [] if good and same else ["what had only to be renamed was made again"]


# --- several at once


def heirs(world: Trials) -> list[str]:
    """One extracts, two wait; whoever works is ended, by SIGTERM and then by SIGKILL."""
    store, job = world.new_store(), extraction(world)
    first = world.start(job.task, store)
    first.wait_for("locks/resnet18")
    time.sleep(0.1)  # it writes its number there
    first.process.send_signal(SIGSTOP)  # until the others are there
    others = [world.start(job.task, store) for _ in range(2)]
    waits = f"waiting for process {first.process.pid}"
    wrong = [f"doesn't say {waits!r}" for other in others if other.wait_for(waits) is None]
    first.process.send_signal(SIGCONT)
    first.wait_for("computing")
    wrong += first.tell(SIGTERM)
    while not any("computing" in other.log or other.process.poll() for other in others):
        time.sleep(0.01)
    second, last = sorted(others, key=lambda other: "computing" not in other.log)
    second.wait_for("h5$")
    wrong += second.tell(SIGKILL)
    kept = max(1, len(rows_of(store)))  # at once: the last one goes on meanwhile
    wrong += world.wrong_status(store)
    return wrong + _all_end(world, store, [last], kept)


def twins(world: Trials, delay: float = 0.0) -> list[str]:
    """Two of the same begin at once, or nearly."""
    store, job = world.new_store(), extraction(world)
    first = world.start(job.task, store)
    first.wait_for(delay)
    second = world.start(job.task, store)
    return _all_end(world, store, [first, second])


def neighbours(
    world: Trials, moment: Moment, extracted: bool = False, alone: Path | None = None
) -> list[str]:
    """One trains; then another extracts a data set that shares pictures with it, in one store.

    extracted: whether the first one finds its pyramids made, and only reads them. alone: a store in
    which the other data set was extracted undisturbed.
    """
    store = world.new_store("TrainRE" if extracted else "")
    before = len(rows_of(store)) or 1
    trains = world.start("TrainRE", store)
    trains.wait_for(moment)
    writes = world.start("ExtractPyramid", store, OTHER)
    wrong = _all_end(world, store, [trains, writes], before, same=False)
    rows, right = rows_of(store), rows_of(world.reference)
    wrong += [] if rows.items() >= right.items() else ["rows differ"]
    if alone is not None:
        wrong += [] if rows == right | rows_of(alone) else ["the other's rows differ"]
        same = index_of(store, OTHER) == index_of(alone, OTHER)
        wrong += [] if same else ["the other's index differs"]
    return wrong


def _all_end(
    world: Trials, store: Path, commands: Sequence[Command], before: int = 1, same: bool = True
) -> list[str]:
    """What is wrong where commands are to end well, and to compute each row once together.

    before: rows that were there; one is of the absent picture, of which no command tells.
    """
    wrong = [f"it fails: {command.log[-500:]}" for command in commands if command.end()]
    said = sum(extraction(world).said(command.log) or 0 for command in commands)
    new = len(rows_of(store)) - before
    wrong += [] if said == new else [f"{said} rows computed together, {new} are new"]
    return wrong or world.wrong_store(store, same)


def at_once(world: Trials, times: int, chance: random.Random) -> Tally:
    """Several commands at once, in so many stores each, apart by chance."""
    tally, alone = Tally("at once"), world.root / "alone"
    world.undisturbed("ExtractPyramid", alone, OTHER)
    for _ in range(times):
        delay = chance.uniform(0, 3)
        tally.note("heirs", heirs(world))
        tally.note(f"twins {delay:.2f} s apart", twins(world, delay))
        tally.note(f"neighbours {delay:.2f} s apart", neighbours(world, delay, alone=alone))
        told = f"a reader {delay:.2f} s before a writer"
        tally.note(told, neighbours(world, delay, True, alone))
    return tally


# --- by hand

MODES: dict[str, tuple[tuple[int, int, int], Callable[[Trials], Job]]] = {
    "extract": ((120, 40, 40), extraction),
    "ground": ((180, 60, 60), grounding),
    "describe": ((120, 40, 40), describing),
    "train": ((24, 8, 8), training),
    "concurrent": ((48, 12, 12), training),
}


def run_mode(name: str, root: Path, kills: int, polite: int, chance: random.Random) -> Tally:
    """Run one mode in a folder of its own."""
    posts, kind = MODES[name]
    world = Trials(root / name, posts)
    until = {"ground": "GroundCrops", "describe": "DescribePictures"}
    world.undisturbed(until.get(name, "ExtractPyramid"), world.reference)
    if kind is training:
        world.undisturbed("TrainRE", world.reference)
    if name == "concurrent":
        return at_once(world, max(1, kills // 20), chance)
    job = kind(world)
    return crash(world, job, drawn(job, kills, polite, chance), chance)


def main(arguments: Sequence[str]) -> int:
    """Run the modes that are asked for and print the table; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mode", choices=(*MODES, "all"))
    parser.add_argument("--kills", type=int, default=100, help="by SIGKILL, in each mode")
    parser.add_argument("--polite", type=int, default=10, help="by SIGTERM, and as many by SIGINT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="to work in and to keep; a new one")
    options = parser.parse_args(arguments)
    lines, bad = [f"{'mode':12}SIGKILL SIGTERM  SIGINT  stores    runs   units   again   wrong"], 0
    with tempfile.TemporaryDirectory() as temporary:
        for name in MODES if options.mode == "all" else [options.mode]:
            started, chance = time.monotonic(), random.Random(options.seed)
            root = options.folder or Path(temporary)
            tally = run_mode(name, root, options.kills, options.polite, chance)
            kills = [tally.kills[number.name] for number in (SIGKILL, SIGTERM, SIGINT)]
            counts = (*kills, tally.stores, tally.runs, tally.units, tally.again, len(tally.wrong))
            line = f"{name:11}" + "".join(f"{count:8}" for count in counts)
            lines += [f"{line}  in {time.monotonic() - started:.0f} s"]
            lines += [f"  {wrong}" for wrong in tally.wrong]
            bad += len(tally.wrong)
    print("\n".join(["", *lines]))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
