"""Add the missing rows of posts to the store, and index them. Each row is computed once."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from features.backbone import block_channels
from features.pictures import Preparation, in_words, read_picture
from features.store import Shard, Store, StoreError
from pipeline.engine.digests import of_file
from pipeline.engine.files import need_space, write_json
from pipeline.engine.near import NearNames
from pipeline.errors import DataError, first_few
from pipeline.extraction.compute import RowComputer, Wanted
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.index import ABOUT, INDEX
from pipeline.extraction.rows import NO_KEY, RowSource, absent_key, made_by, sources_of
from pipeline.grounding.crops import Grounded, file_problem
from pipeline.grounding.report import log_filled
from pipeline.machine import Machine, pick_device

SHARD_ROWS = 256
ROW_EXTRA = 100  # bytes of a row in a shard and the index, beside its numbers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extraction:
    """The inputs, settings and output folder of a run.

    root: the data root.
    slots: regions per post, including the picture.
    digest: returns the digest of a file's bytes.
    rows: the store's folder of this backbone's rows.
    weights: as in `rows.made_by`.
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
        """The preparation of pixels for the backbone."""
        return Preparation(self.config.resize, self.config.size)

    @property
    def absent(self) -> bytes:
        """The key of the row of an all-zero input."""
        return absent_key(self.preparation)


@dataclass
class Lookup:
    """The rows that posts need, stored compactly: there may be millions.

    keys: 32 bytes for each slot of each post; zeros if there is nothing to compute a row from.
    """

    keys: bytearray = field(default_factory=bytearray)
    pictures: list[int] = field(default_factory=list)  # hash of each post's file name
    missing: dict[bytes, RowSource] = field(default_factory=dict)  # not in the store
    # Files of the missing rows -> time of last change (ns) and digest, when they were looked up.
    files: dict[Path, tuple[int, str]] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)
    filled: dict[Path, float] = field(default_factory=dict)  # missing share of the file's data

    def each_key(self) -> Iterator[bytes]:
        """Yield the keys, slot by slot."""
        return (bytes(self.keys[n : n + 32]) for n in range(0, len(self.keys), 32))


def extract(posts: Iterable[Grounded], run: Extraction, folder: Path) -> None:
    """Add the posts' missing rows to the store, and write the index into `folder`.

    Files written:
    `index.npy`: (posts, slots, 2) int32 of (shard, row), -1 if there is no region.
    `pyramids.json`: how the pyramids were made, the names of the shards, the place of the row of an
        all-zero input, the blocks' channels, and the grid.
    `report.json`: counts of rows and pictures, and the pictures that can't be used.

    posts: read again if a shard is damaged.

    Raises DataError if no picture can be used, StoreError if rows are damaged repeatedly as they
    are written.
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
        _check_any(any(lookup.keys), lookup.problems, "exist")
        if lookup.missing or run.absent not in store:
            _compute_missing(lookup, run, store)
            new.update(key for key in lookup.missing if key in store)
        index, shards = _index(lookup, run.slots, store)
        _check_any(bool(shards), lookup.problems, "are readable")
        place = store.find(run.absent)
        assert place is not None, "the row is computed before all others"
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
    """Name the row of each slot, and list the rows that the store lacks."""
    lookup, near = Lookup(), NearNames()
    for post in posts:
        lookup.pictures.append(hash(post.picture))
        digests: dict[Path, str | None] = {}  # once per file: a picture has several rows
        for source in sources_of(post, run.root, run.slots):
            if source is None:
                lookup.keys += NO_KEY
                continue
            file = source.file
            if file not in digests:
                problem = file_problem(file, run.root, near)
                if problem is not None:
                    lookup.problems[file] = problem
                changed = 0 if problem else file.stat().st_ctime_ns
                digests[file] = None if problem else run.digest(file)
            digest = digests[file]
            key = NO_KEY if digest is None else source.key(digest, run.preparation)
            lookup.keys += key
            if digest is not None and key not in store:
                # Files with the same bytes share their rows.
                lookup.missing.setdefault(key, source)
                lookup.files.setdefault(file, (changed, digest))
    return lookup


def _check_any(good: bool, problems: dict[Path, str], expected: str) -> None:
    """Raise DataError if no picture can be used: the path is probably wrong."""
    if good:
        return
    first = "".join(f", such as {file} ({why})" for file, why in islice(problems.items(), 1))
    raise DataError(
        f"expected pictures that {expected}, found none of {len(problems)}{first}. The README "
        "says where pictures go; to train without pictures, give --variant text-only"
    )


def _compute_missing(lookup: Lookup, run: Extraction, store: Store) -> None:
    """Compute the rows that the store lacks, and write them shard by shard."""
    by_file: dict[Path, Wanted] = {}
    for key, source in lookup.missing.items():
        by_file.setdefault(source.file, Wanted(source.file, {})).boxes[key] = source.box
    device = pick_device(run.machine.device)
    log.info("computing %d rows of %d files on %s", len(lookup.missing), len(by_file), device)
    size = 2 * sum(block_channels(run.config.backbone)) * run.config.grid**2 + ROW_EXTRA
    store.folder.mkdir(parents=True, exist_ok=True)
    need_space(store.folder, size * (len(lookup.missing) + SHARD_ROWS), "computing these rows")

    def open_unchanged(file: Path) -> tuple[Image.Image, float]:
        """Open a picture. Raises DataError if it is not the file that the keys were made of."""
        picture, missing = read_picture(file)
        changed, digest = lookup.files[file]
        if file.stat().st_ctime_ns != changed and of_file(file) != digest:
            raise DataError(f"{file}: changed during this run; run the same command again")
        return picture, missing

    computer = RowComputer(run.config, run.machine)
    with tqdm(by_file.values(), "extracting", unit="picture", disable=None) as pictures:
        absent = [] if run.absent in store else [Wanted(None, {run.absent: None})]
        wanted = (source for part in (absent, pictures) for source in part)
        batches = computer.rows(wanted, lookup.problems, lookup.filled, open_unchanged, SHARD_ROWS)
        rows = (pair for keys, values in batches for pair in zip(keys, values, strict=True))
        while shard := list(islice(rows, SHARD_ROWS)):
            store.write([key for key, _ in shard], np.stack([row for _, row in shard]))


def _index(lookup: Lookup, slots: int, store: Store) -> tuple[np.ndarray, dict[str, int]]:
    """Return the index, (posts, slots, 2) int32 of (shard, row) or -1, and the shards' numbers."""
    shards: dict[str, int] = {}
    index = np.full((len(lookup.pictures) * slots, 2), -1, np.int32)
    for n, key in enumerate(lookup.each_key()):
        place = store.find(key)
        if place is not None:
            index[n] = shards.setdefault(place[0], len(shards)), place[1]
    return index.reshape(-1, slots, 2), shards


def _wrong_rows(folder: Path, shards: Iterable[str]) -> dict[str, str]:
    """Read the shards. Returns name -> reason for each that is damaged."""
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
