"""Fill the store with the rows that posts lack, and index them: a row is computed once."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from features.backbone import block_channels
from features.pictures import NO_FILE, Preparation, absence, in_words, read_picture
from features.store import Shard, Store, StoreError
from pipeline.engine.digests import of_file
from pipeline.engine.files import leads_out, need_space, write_json
from pipeline.engine.near import NearNames, described
from pipeline.errors import DataError, first_few
from pipeline.extraction.compute import RowComputer, Wanted
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.index import ABOUT, INDEX
from pipeline.extraction.rows import NO_KEY, RowSource, absent_key, made_by, sources_of
from pipeline.grounding.crops import LEADS_OUT, LINKED_OUT, Grounded
from pipeline.grounding.report import log_filled
from pipeline.machine import Machine, pick_device

SHARD_ROWS = 256
ROW_EXTRA = 100  # bytes that a row takes in a shard and in the index, beside its numbers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extraction:
    """What a run reads, what it computes with, and where its rows go.

    root: the data root. slots: regions a post, the picture included. digest: of a file's bytes.
    rows: the store's folder of this backbone's rows. weights: as for `made_by`.
    """

    root: Path
    slots: int
    digest: Callable[[Path], str]
    rows: Path
    weights: str
    config: ExtractConfig
    machine: Machine

    @property
    def preparation(self) -> Preparation:
        """How pixels are prepared for the backbone."""
        return Preparation(self.config.resize, self.config.size)

    @property
    def absent(self) -> bytes:
        """The key of the row of an all-zero input."""
        return absent_key(self.preparation)


@dataclass
class Lookup:
    """The rows that posts ask for. Lean: there may be millions.

    keys: 32 bytes a slot of a post, zeros where there is nothing to compute a row from.
    """

    keys: bytearray = field(default_factory=bytearray)
    pictures: list[int] = field(default_factory=list)  # hash of each post's file name
    missing: dict[bytes, RowSource] = field(default_factory=dict)  # the store lacks them
    # Their files as they were when they were looked up: the time of the last change, the digest.
    files: dict[Path, tuple[int, str]] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)
    filled: dict[Path, float] = field(default_factory=dict)  # share of the data that is missing

    def each_key(self) -> Iterator[bytes]:
        """The keys, slot by slot."""
        return (bytes(self.keys[n : n + 32]) for n in range(0, len(self.keys), 32))


def extract(posts: Iterable[Grounded], run: Extraction, folder: Path) -> None:
    """Fill the store with what the posts lack, and write the index into `folder`.

    posts: are gone through again where shards turn out damaged.
    `index.npy` holds (posts, slots, 2) int32 of (shard, row), -1 where there is no region;
    `pyramids.json` how they were made, the names of the shards, the row of an all-zero input, the
    blocks' channels, the grid; `report.json` what was computed, is missing, or is broken.
    Raises DataError where no picture can be used, StoreError where the disk alters what it gets.
    """
    store = Store(run.rows)
    store.sweep()
    damaged = dict(store.damaged)
    new: set[bytes] = set()
    for _ in range(3):
        for name, why in damaged.items():
            log.warning("computing a damaged shard again: %s", why)
            store.discard(name)
        lookup = _look_up(posts, run, store)
        _check_any(any(lookup.keys), lookup.problems, "there")
        if lookup.missing or run.absent not in store:
            _compute_missing(lookup, run, store)
            new.update(key for key in lookup.missing if key in store)
        index, shards = _index(lookup, run.slots, store)
        _check_any(bool(shards), lookup.problems, "readable")
        place = store.find(run.absent)
        assert place is not None, "computed with the first rows"
        absent_place = [shards.setdefault(place[0], len(shards)), place[1]]
        damaged = _wrong_rows(run.rows, shards)
        if not damaged:
            break
    else:
        raise StoreError(f"{run.rows}: rows are damaged as they are written; is the disk failing?")
    np.save(folder / INDEX, index)
    about = {
        "made_by": made_by(run.config, run.weights),
        "rows": run.rows.name,
        "absent": absent_place,
        "shards": list(shards),
        "channels": block_channels(run.config.backbone),
        "grid": run.config.grid,
    }
    write_json(folder / ABOUT, about)
    _write_report(lookup, index, new, run, folder)


def _look_up(posts: Iterable[Grounded], run: Extraction, store: Store) -> Lookup:
    """Name the row of each slot, and find out which the store lacks."""
    lookup, near = Lookup(), NearNames()
    for post in posts:
        lookup.pictures.append(hash(post.picture))
        digests: dict[Path, str | None] = {}  # a picture has a row for each of its regions
        for source in sources_of(post, run.root, run.slots):
            if source is None:
                lookup.keys += NO_KEY
                continue
            file = source.file
            if file not in digests:
                problem = _problem(file, run.root, near)
                if problem is not None:
                    lookup.problems[file] = problem
                changed = 0 if problem else file.stat().st_ctime_ns
                digests[file] = None if problem else run.digest(file)
            known = digests[file]
            key = NO_KEY if known is None else source.key(known, run.preparation)
            lookup.keys += key
            if known is not None and key not in store:
                # Files of the same bytes have the same rows.
                lookup.missing.setdefault(key, source)
                lookup.files.setdefault(file, (changed, known))
    return lookup


def _problem(file: Path, root: Path, near: NearNames) -> str | None:
    if leads_out(file, root):
        return f"{LINKED_OUT}: {LEADS_OUT}"
    if file.is_file():
        return None
    absent = absence(file)
    return described("missing", near.hint(file) if absent == NO_FILE else absent)


def _check_any(good: bool, problems: dict[Path, str], expected: str) -> None:
    """Refuse to go on where not one picture can be used: a wrong path, not a gap."""
    if good:
        return
    first = "".join(f", such as {file} ({why})" for file, why in islice(problems.items(), 1))
    raise DataError(
        f"expected pictures that are {expected}, found none of {len(problems)}{first}. The README "
        "says where pictures go; without any, train with --variant text-only"
    )


def _compute_missing(lookup: Lookup, run: Extraction, store: Store) -> None:
    """Compute the rows that the store lacks, and write them, a shard at a time."""
    by_file: dict[Path, Wanted] = {}
    for key, source in lookup.missing.items():
        by_file.setdefault(source.file, Wanted(source.file, {})).boxes[key] = source.box
    device = pick_device(run.machine.device)
    log.info("computing %d rows of %d files on %s", len(lookup.missing), len(by_file), device)
    size = 2 * sum(block_channels(run.config.backbone)) * run.config.grid**2 + ROW_EXTRA
    store.folder.mkdir(parents=True, exist_ok=True)
    need_space(store.folder, size * (len(lookup.missing) + SHARD_ROWS), "computing these rows")

    def open_unchanged(file: Path) -> tuple[Image.Image, float]:
        """Open a picture, and make sure that it is still the one that its rows' keys name."""
        picture, missing = read_picture(file)
        changed, digest = lookup.files[file]
        if file.stat().st_ctime_ns != changed and of_file(file) != digest:
            raise DataError(f"{file}: changed during this run; run the same command again")
        return picture, missing

    computer = RowComputer(run.config, run.machine)
    with tqdm(by_file.values(), "extracting", unit="picture", disable=None) as pictures:
        absent = [] if run.absent in store else [Wanted(None, {run.absent: None})]
        wanted = (one for part in (absent, pictures) for one in part)
        batches = computer.rows(wanted, lookup.problems, lookup.filled, open_unchanged, SHARD_ROWS)
        rows = (pair for keys, values in batches for pair in zip(keys, values, strict=True))
        while shard := list(islice(rows, SHARD_ROWS)):
            store.write([key for key, _ in shard], np.stack([row for _, row in shard]))


def _index(lookup: Lookup, slots: int, store: Store) -> tuple[np.ndarray, dict[str, int]]:
    """(posts, slots, 2) int32 of (shard, row), -1 where there is none, and the shards' numbers."""
    shards: dict[str, int] = {}
    index = np.full((len(lookup.pictures) * slots, 2), -1, np.int32)
    for n, key in enumerate(lookup.each_key()):
        place = store.find(key)
        if place is not None:
            index[n] = shards.setdefault(place[0], len(shards)), place[1]
    return index.reshape(-1, slots, 2), shards


def _wrong_rows(folder: Path, shards: Iterable[str]) -> dict[str, str]:
    """Read the shards and name the fault of each that has rows with a wrong CRC."""
    damaged = {}
    for name in shards:
        try:
            bad = Shard(folder / name).verify()
        except StoreError as error:
            damaged[name] = str(error)
        else:
            if bad:
                damaged[name] = f"{name}: {len(bad)} rows with a wrong CRC, the first {bad[0]}"
    return damaged


def _write_report(
    lookup: Lookup, index: np.ndarray, new: set[bytes], run: Extraction, folder: Path
) -> None:
    there = index[..., 0] >= 0
    pictures = np.array(lookup.pictures)
    computed = np.array([key in new for key in lookup.each_key()]).reshape(there.shape)
    files = sorted(lookup.problems.items())
    problems = {str(file.relative_to(run.root)): why for file, why in files}
    filled = {str(file.relative_to(run.root)): n for file, n in sorted(lookup.filled.items())}
    report = {
        "pictures": len(np.unique(pictures[there[:, 0]])),
        "rows": len(np.unique(index[there], axis=0)),
        "pictures_computed": len(np.unique(pictures[computed[:, 0]])),
        "rows_computed": len(new),
        "filled_now": {name: in_words(share) for name, share in filled.items()},
        "problems": problems,
        "config": asdict(run.config),
    }
    write_json(folder / "report.json", report)
    log.info(
        "%(pictures)d pictures, %(rows)d rows; computed now: %(pictures_computed)d pictures, "
        "%(rows_computed)d rows",
        report,
    )
    log_filled(filled)
    if problems:
        log.warning("%d picture files can't be used: %s", len(problems), first_few(problems))
