"""Pictures and their regions -> rows of the store, each computed once."""

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from features.backbone import Backbone, block_channels, load_backbone
from features.folded import Folded
from features.pictures import Box, PictureError, Preparation, normalise, open_picture, square
from features.pyramid import pool
from features.store import Shard, Store, StoreError
from pipeline.corpus import DataError
from pipeline.corpus.files import leads_out
from pipeline.crops import LEADS_OUT, OUTSIDE, Grounded, first_few
from pipeline.device import pick_device
from pipeline.digests import of_file
from pipeline.durable import need_space
from pipeline.jsonfile import write_json
from pipeline.presets import RANDOM, ROW_VERSION, ExtractConfig, Machine

NO_KEY = bytes(32)
SHARD_ROWS = 256
BATCHES = {"cpu": 8, "cuda": 128}  # more don't fit a CPU's cache: a third slower at 32
ROW_EXTRA = 100  # bytes that a row takes in a shard and in the index, beside its numbers

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RowSource:
    """What one row is computed from: a picture file, or a box (pixels) in it."""

    file: Path
    box: Box | None

    def key(self, digest: str, preparation: Preparation) -> bytes:
        """32 bytes that name the row within its backbone's folder."""
        box = None if self.box is None else [float(side) for side in self.box]
        return hashlib.sha256(json.dumps([digest, box, preparation.name]).encode()).digest()


@dataclass
class Rows:
    """The rows that posts ask for. Lean: there may be millions.

    keys: 32 bytes a slot of a post, zeros where there is nothing to compute a row from.
    """

    keys: bytearray = field(default_factory=bytearray)
    pictures: list[int] = field(default_factory=list)  # hash of each post's file name
    missing: dict[bytes, RowSource] = field(default_factory=dict)  # the store doesn't hold them
    # Their files as they were when they were looked up: the time of the last change, the digest.
    files: dict[Path, tuple[int, str]] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)

    def each(self) -> Iterator[bytes]:
        """The keys, slot by slot."""
        return (bytes(self.keys[n : n + 32]) for n in range(0, len(self.keys), 32))


def absent_key(preparation: Preparation) -> bytes:
    """The name of the row of an all-zero input: what the published code attends as "no object"."""
    return hashlib.sha256(json.dumps(["absent", preparation.size]).encode()).digest()


def made_by(config: ExtractConfig, weights: str) -> dict[str, Any]:
    """How pyramids are made, for models to compare with what they were trained on.

    weights: torchvision's name, "random", or a file's digest; never the file's path.
    """
    return asdict(config) | {"weights": weights}


def rows_folder(config: ExtractConfig, weights: str) -> str:
    """Name of the folder of the rows of one backbone; all data sets share it.

    weights: as for `made_by`.
    """
    parts = {
        "version": ROW_VERSION,
        "backbone": config.backbone,
        "weights": weights,
        "seed": config.seed if config.weights == RANDOM else None,
        "precision": config.precision,
        "pooling": config.pooling,
        "grid": config.grid,
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    return f"{config.backbone}-{config.pooling}{config.grid}-{config.precision}-{digest}"


def sources_of(post: Grounded, root: Path, slots: int) -> list[RowSource | None]:
    """The whole picture and the post's regions, padded with None to `slots`."""
    found: list[RowSource | None] = []
    if post.picture is not None:
        picture = root / post.picture
        found.append(RowSource(picture, None))
        for region in post.regions:
            file = picture if region.file is None else root / region.file
            found.append(RowSource(file, region.box))
    assert len(found) <= slots, (post.id, len(found), slots)
    return found + [None] * (slots - len(found))


def extract(
    posts: Iterable[Grounded],
    root: Path,
    slots: int,
    digest: Callable[[Path], str],
    rows: Path,
    weights: str,
    config: ExtractConfig,
    machine: Machine,
    folder: Path,
) -> None:
    """Fill the store's folder `rows` with what the posts lack, and write the index into `folder`.

    posts: are gone through again where shards turn out damaged. root: the data root. slots: regions
    a post, the picture included. digest: of a file's bytes. weights: as for `made_by`.
    `index.npy` holds (posts, slots, 2) int32 of (shard, row), -1 where there is no region;
    `pyramids.json` how they were made, the names of the shards, the row of an all-zero input, the
    blocks' channels, the grid; `report.json` what was computed, is missing, or is broken.
    Raises DataError where no picture can be used, StoreError where the disk alters what it gets.
    """
    preparation = Preparation(config.resize, config.size)
    absent = absent_key(preparation)
    store = Store(rows)
    store.sweep()
    damaged = dict(store.damaged)
    new: set[bytes] = set()
    for _ in range(3):
        for name, why in damaged.items():
            log.warning("computing a damaged shard again: %s", why)
            store.discard(name)
        found = _look_up(posts, root, slots, digest, preparation, store)
        _check_any(any(found.keys), found.problems, "there")
        if found.missing or absent not in store:
            _compute(found, store, config, machine)
            new.update(key for key in found.missing if key in store)
        index, shards = _index(found, slots, store)
        _check_any(bool(shards), found.problems, "readable")
        place = store.find(absent)
        assert place is not None, "computed with the first rows"
        absent_place = [shards.setdefault(place[0], len(shards)), place[1]]
        damaged = _wrong_rows(rows, shards)
        if not damaged:
            break
    else:
        raise StoreError(f"{rows}: rows are damaged as they are written; is the disk failing?")
    np.save(folder / "index.npy", index)
    pyramids = {
        "made_by": made_by(config, weights),
        "rows": rows.name,
        "absent": absent_place,
        "shards": list(shards),
        "channels": block_channels(config.backbone),
        "grid": config.grid,
    }
    write_json(folder / "pyramids.json", pyramids)
    _write_report(found, index, new, root, config, folder)


def _look_up(
    posts: Iterable[Grounded],
    root: Path,
    slots: int,
    digest: Callable[[Path], str],
    preparation: Preparation,
    store: Store,
) -> Rows:
    found = Rows()
    for post in posts:
        found.pictures.append(hash(post.picture))
        digests: dict[Path, str | None] = {}  # a picture has a row for each of its regions
        for source in sources_of(post, root, slots):
            if source is None:
                found.keys += NO_KEY
                continue
            file = source.file
            if file not in digests:
                problem = _problem(file, root)
                if problem is not None:
                    found.problems[file] = problem
                changed = 0 if problem else file.stat().st_ctime_ns
                digests[file] = None if problem else digest(file)
            known = digests[file]
            key = NO_KEY if known is None else source.key(known, preparation)
            found.keys += key
            if known is not None and key not in store:
                # Files of the same bytes have the same rows.
                found.missing.setdefault(key, source)
                found.files.setdefault(file, (changed, known))
    return found


def _problem(file: Path, root: Path) -> str | None:
    if leads_out(file, root):
        return f"{OUTSIDE}: {LEADS_OUT}"
    return None if file.is_file() else "missing"


def _check_any(good: bool, problems: dict[Path, str], expected: str) -> None:
    """Refuse to go on where not one picture can be used: a wrong path, not a gap."""
    if good:
        return
    first = f", such as {next(iter(problems))}" if problems else ""
    raise DataError(
        f"expected pictures that are {expected}, found none of {len(problems)}{first}. The README "
        "says where pictures go; without any, train with --variant text-only"
    )


def _index(found: Rows, slots: int, store: Store) -> tuple[np.ndarray, dict[str, int]]:
    """(posts, slots, 2) int32 of (shard, row), -1 where there is none, and the shards' numbers."""
    shards: dict[str, int] = {}
    index = np.full((len(found.pictures) * slots, 2), -1, np.int32)
    for n, key in enumerate(found.each()):
        place = store.find(key)
        if place is not None:
            index[n] = shards.setdefault(place[0], len(shards)), place[1]
    return index.reshape(-1, slots, 2), shards


def _wrong_rows(folder: Path, shards: Iterable[str]) -> dict[str, str]:
    """Which of the shards have rows with a wrong CRC, and what is wrong. Reads them."""
    found = {}
    for name in shards:
        try:
            bad = Shard(folder / name).verify()
        except StoreError as error:
            found[name] = str(error)
        else:
            if bad:
                found[name] = f"{name}: {len(bad)} rows with a wrong CRC, the first {bad[0]}"
    return found


def _compute(found: Rows, store: Store, config: ExtractConfig, machine: Machine) -> None:
    """Compute rows, that of an all-zero input too, and write them, a shard at a time."""
    by_file: dict[Path, dict[bytes, Box | None]] = {}
    for key, source in found.missing.items():
        by_file.setdefault(source.file, {})[key] = source.box
    device = torch.device(pick_device(machine.device))
    log.info("computing %d rows of %d files on %s", len(found.missing), len(by_file), device)
    size = 2 * sum(block_channels(config.backbone)) * config.grid**2 + ROW_EXTRA
    store.folder.mkdir(parents=True, exist_ok=True)
    need_space(store.folder, size * (len(found.missing) + SHARD_ROWS), "computing these rows")
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    backbone = load_backbone(config.backbone, config.weights, config.seed)
    folded = Folded(backbone, dtype).to(device)
    batch_size = machine.batch_size or BATCHES[device.type]
    pending: list[tuple[bytes, np.ndarray]] = []
    with tqdm(total=len(by_file), desc="extracting", unit="picture", disable=None) as bar:
        preparation = Preparation(config.resize, config.size)
        absent = absent_key(preparation)
        prepared = chain(
            []
            if absent in store
            else [(absent, np.zeros((config.size, config.size, 3), np.uint8))],
            _prepared(
                by_file, preparation, machine.threads, found, bar, beside=device.type != "cpu"
            ),
        )
        batches = _batches(prepared, batch_size)
        for keys, rows in _forward(folded, batches, absent, config, device):
            pending += zip(keys, rows, strict=True)
            if len(pending) == SHARD_ROWS:
                _write(store, pending)
                pending.clear()
    if pending:
        _write(store, pending)


def _batches(
    prepared: Iterator[tuple[bytes, np.ndarray]], size: int
) -> Iterator[tuple[list[bytes], Tensor]]:
    """Keys and squares (N, S, S, 3) uint8, up to `size` at once.

    No batch reaches over two shards: a run that goes on makes the batches it would have made.
    """
    left = SHARD_ROWS
    while batch := list(islice(prepared, min(size, left))):
        left = (left - len(batch)) or SHARD_ROWS
        yield [key for key, _ in batch], torch.from_numpy(np.stack([square for _, square in batch]))


@torch.inference_mode()
def _forward(
    backbone: Folded,
    batches: Iterable[tuple[list[bytes], Tensor]],
    absent: bytes,
    config: ExtractConfig,
    device: torch.device,
) -> Iterator[tuple[list[bytes], np.ndarray]]:
    """Keys and squares (N, S, S, 3) -> keys and rows (N, ΣC, h, w) float16.

    A GPU works on a batch while the one before is fetched and the next one is made.
    """
    before: tuple[list[bytes], Tensor] | None = None
    for keys, squares in batches:
        if device.type == "cuda":
            squares = squares.pin_memory().to(device, non_blocking=True)
        pixels = normalise(squares)
        if absent in keys:
            pixels[keys.index(absent)] = 0
        rows = pool(backbone(pixels), config.grid, config.pooling).half()
        if before is not None:
            yield before[0], before[1].cpu().numpy()
        before = keys, rows
    if before is not None:
        yield before[0], before[1].cpu().numpy()


def maps_of(backbone: Backbone, pixels: Tensor, config: ExtractConfig) -> Tensor:
    """Pixels (N, 3, S, S) -> pyramids (N, ΣC, h, w) float32, in the extraction's own precision."""
    low = config.precision == "bfloat16"
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=low):
        blocks = backbone(pixels)
    return pool(blocks, config.grid, config.pooling)


def _prepared(
    by_file: dict[Path, dict[bytes, Box | None]],
    preparation: Preparation,
    threads: int,
    found: Rows,
    bar: tqdm,
    beside: bool,
) -> Iterator[tuple[bytes, np.ndarray]]:
    """Keys and squares (S, S, 3) uint8 in order; threads decode each picture once, a few ahead.

    beside: decode while rows are computed; else in turns, as it pays where both want the same
    cores (on two of them by an eighth: a convolution waits for the slower half).
    """

    def decode(file: Path) -> list[tuple[bytes, np.ndarray]]:
        regions = []
        try:
            picture = open_picture(file)
        except PictureError as error:
            found.problems[file] = f"{error.kind}: {error.reason}"
            return []
        changed, digest = found.files[file]
        if file.stat().st_ctime_ns != changed and of_file(file) != digest:
            raise DataError(f"{file}: changed during this run; run the same command again")
        for key, box in by_file[file].items():
            try:
                regions.append((key, square(picture, box, preparation)))
            except PictureError as error:  # a box that is off costs only itself
                found.problems[file] = f"crop: {error}"
        return regions

    with ThreadPoolExecutor(threads) as executor:
        waiting = iter(by_file)
        ahead: deque[Future[list[tuple[bytes, np.ndarray]]]] = deque()
        while True:
            if beside or not ahead:
                for file in islice(waiting, 4 * threads - len(ahead)):
                    ahead.append(executor.submit(decode, file))
                if not beside:
                    wait(ahead)
            if not ahead:
                return
            yield from ahead.popleft().result()
            bar.update()


def _write(store: Store, rows: Sequence[tuple[bytes, np.ndarray]]) -> None:
    store.write([key for key, _ in rows], np.stack([row for _, row in rows]))


def _write_report(
    found: Rows,
    index: np.ndarray,
    new: set[bytes],
    root: Path,
    config: ExtractConfig,
    folder: Path,
) -> None:
    there = index[..., 0] >= 0
    pictures = np.array(found.pictures)
    computed = np.array([key in new for key in found.each()]).reshape(there.shape)
    problems = {str(file.relative_to(root)): why for file, why in sorted(found.problems.items())}
    report = {
        "pictures": len(np.unique(pictures[there[:, 0]])),
        "rows": len(np.unique(index[there], axis=0)),
        "pictures_computed": len(np.unique(pictures[computed[:, 0]])),
        "rows_computed": len(new),
        "problems": problems,
        "config": asdict(config),
    }
    write_json(folder / "report.json", report)
    log.info(
        "%(pictures)d pictures, %(rows)d rows; computed now: %(pictures_computed)d pictures, "
        "%(rows_computed)d rows",
        report,
    )
    if problems:
        log.warning("%d picture files can't be used: %s", len(problems), first_few(problems))
