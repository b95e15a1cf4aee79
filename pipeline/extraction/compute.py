"""Pixels -> rows, by one backbone on one device. It needs no store: prediction uses it too."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from threading import Thread

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from features.backbone import Backbone, load_backbone
from features.folded import Folded
from features.pictures import Box, PictureError, Preparation, normalise, read_picture, square
from features.pyramid import pool
from pipeline.extraction.config import ExtractConfig
from pipeline.machine import BFLOAT16, Machine, pick_device

BATCHES = {"cpu": 8, "cuda": 128}  # larger batches exceed a CPU's cache: 32 is a third slower

Square = tuple[bytes, np.ndarray | None]  # key, (S, S, 3) uint8; None: an all-zero input
Open = Callable[[Path], tuple[Image.Image, float]]  # -> picture, missing share of its data
Keyed = tuple[list[bytes], np.ndarray]  # N keys, rows (N, ΣC, h, w) float16


@dataclass(frozen=True)
class Wanted:
    """The rows to compute from one picture.

    file: None for the row of an input that is all zero after normalisation.
    boxes: key of each row -> a box in the picture (pixels), or None for the whole picture.
    """

    file: Path | None
    boxes: dict[bytes, Box | None]


@dataclass(frozen=True)
class Decoded:
    """A picture's prepared pixels.

    problem: why some or all squares are missing; None if all are there.
    filled: share of the file's data that was missing and has been filled.
    """

    squares: list[Square]
    problem: str | None = None
    filled: float = 0.0


@dataclass(frozen=True)
class Batch:
    """A batch of inputs for the backbone.

    keys: N keys.
    squares: (N, S, S, 3) uint8.
    zero: numbers of the all-zero inputs in the batch.
    """

    keys: list[bytes]
    squares: Tensor
    zero: list[int]


class RowComputer:
    """A backbone that computes rows: its four blocks, pooled and joined."""

    def __init__(self, config: ExtractConfig, machine: Machine) -> None:
        """Load the backbone. Raises WeightsError, DeviceError."""
        self.config = config
        self.device = torch.device(pick_device(machine.device))
        self.batch_size = machine.batch_size or BATCHES[self.device.type]
        self.threads = machine.threads
        self.cores = torch.get_num_threads()  # on a CPU; set by OMP_NUM_THREADS
        self.preparation = Preparation(config.resize, config.size)
        dtype = torch.bfloat16 if config.precision == BFLOAT16 else torch.float32
        backbone = load_backbone(config.backbone, config.weights, config.seed)
        self.backbone = Folded(backbone, dtype).to(self.device)

    def rows(
        self,
        wanted: Iterable[Wanted],
        problems: dict[Path, str],
        filled: dict[Path, float],
        open_file: Open = read_picture,
        span: int | None = None,
    ) -> Iterator[Keyed]:
        """Yield the rows in the order of `wanted`, batch by batch.

        problems: receives the reason for each file, or box in it, that can't be used and so has
            no row.
        filled: receives the missing share of the data of each file that was completed.
        open_file: opens a picture; called in threads.
        span: no batch crosses a multiple of `span` rows, so that an interrupted run resumes with
            the batches that it would have made.
        """
        squares = self._squares(wanted, problems, filled, open_file)
        batches = self._batches(squares, span)
        return self._side_by_side(batches) if self.device.type == "cpu" else self._on_gpu(batches)

    def _squares(
        self,
        wanted: Iterable[Wanted],
        problems: dict[Path, str],
        filled: dict[Path, float],
        open_file: Open,
    ) -> Iterator[Square]:
        """Yield prepared pixels in order. Threads decode each picture once, a few ahead."""
        waiting = iter(wanted)
        ahead: deque[tuple[Wanted, Future[Decoded]]] = deque()
        with ThreadPoolExecutor(self.threads) as executor:
            while True:
                for picture in islice(waiting, 4 * self.threads - len(ahead)):
                    ahead.append((picture, executor.submit(self._decode, picture, open_file)))
                if not ahead:
                    return
                picture, future = ahead.popleft()
                decoded = future.result()
                if picture.file is not None and decoded.problem is not None:
                    problems[picture.file] = decoded.problem
                if picture.file is not None and decoded.filled:
                    filled[picture.file] = decoded.filled
                yield from decoded.squares

    def _decode(self, wanted: Wanted, open_file: Open) -> Decoded:
        if wanted.file is None:
            return Decoded([(key, None) for key in wanted.boxes])
        try:
            picture, filled = open_file(wanted.file)
        except PictureError as error:
            return Decoded([], f"{error.kind}: {error.reason}")
        squares: list[Square] = []
        problem = None
        for key, box in wanted.boxes.items():
            try:
                squares.append((key, square(picture, box, self.preparation)))
            except PictureError as error:  # a bad box must not cost the others
                problem = f"crop: {error}"
        return Decoded(squares, problem, filled)

    def _batches(self, squares: Iterator[Square], span: int | None) -> Iterator[Batch]:
        size = self.config.size
        blank = np.zeros((size, size, 3), np.uint8)
        left = span or self.batch_size
        while batch := list(islice(squares, min(self.batch_size, left))):
            left = (left - len(batch)) or span or self.batch_size
            zero = [n for n, (_, pixels) in enumerate(batch) if pixels is None]
            stacked = np.stack([blank if pixels is None else pixels for _, pixels in batch])
            yield Batch([key for key, _ in batch], torch.from_numpy(stacked), zero)

    def _side_by_side(self, batches: Iterator[Batch]) -> Iterator[Keyed]:
        """Compute on a CPU, one batch per core, so that no core waits for another.

        Cores that share a batch wait after each convolution for the slowest, which may be busy
        decoding pictures. They share a batch only if it is the only one.
        """
        start = list(islice(batches, 2))
        if len(start) < 2:
            yield from ((batch.keys, self._rows(batch).numpy()) for batch in start)
            return
        ahead: deque[tuple[list[bytes], Future[Tensor]]] = deque()
        with ThreadPoolExecutor(
            self.cores, initializer=_use_one_core, initargs=(self.cores,)
        ) as executor:
            for batch in chain(start, batches):
                ahead.append((batch.keys, executor.submit(self._rows, batch)))
                if len(ahead) > 2 * self.cores:
                    keys, future = ahead.popleft()
                    yield keys, future.result().numpy()
            yield from ((keys, future.result().numpy()) for keys, future in ahead)

    def _on_gpu(self, batches: Iterable[Batch]) -> Iterator[Keyed]:
        """Compute on a GPU while the last rows are fetched and the next batch is prepared."""
        before: tuple[list[bytes], Tensor] | None = None
        for batch in batches:
            rows = self._rows(batch)
            if before is not None:
                yield before[0], before[1].cpu().numpy()
            before = batch.keys, rows
        if before is not None:
            yield before[0], before[1].cpu().numpy()

    @torch.inference_mode()
    def _rows(self, batch: Batch) -> Tensor:
        """Return rows (N, ΣC, h, w) float16 on the device."""
        squares = batch.squares
        if self.device.type == "cuda":
            squares = squares.pin_memory().to(self.device, non_blocking=True)
        pixels = normalise(squares)
        if batch.zero:
            pixels[batch.zero] = 0
        return pool(self.backbone(pixels), self.config.grid, self.config.pooling).half()


def _use_one_core(cores: int) -> None:
    """Make torch use a single core in the calling thread only.

    New threads start with the number that any thread set last, so a helper thread sets it back to
    `cores`.
    """
    torch.get_num_threads()  # else torch's first operation in this thread undoes the next line
    torch.set_num_threads(1)
    last = Thread(target=torch.set_num_threads, args=(cores,))
    last.start()
    last.join()


def maps_of(backbone: Backbone, pixels: Tensor, config: ExtractConfig) -> Tensor:
    """Pixels (N, 3, S, S) -> pyramids (N, ΣC, h, w) float32, in the extraction's precision."""
    low = config.precision == BFLOAT16
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=low):
        blocks = backbone(pixels)
    return pool(blocks, config.grid, config.pooling)
