"""Compare training steps from the cache with text-only ones, and with the usual way."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import BertConfig, TrainerCallback

from bench import end_to_end
from bench.clock import now
from bench.extraction import rows_a_second
from bench.material import CHANNELS, MNRE_PICTURES, MNRE_POSTS, REGIONS, Material
from bench.memory import PeakMemory
from bench.turns import entry, in_turns
from model.config import ExtractorConfig
from model.contract import System
from model.hvpnet.variants import HVPNET
from model.ner import EntityTagger
from model.systems import BERT_CRF, declared, encoding_style, names, variants_of
from pipeline.corpus.post import Post
from pipeline.training.build import build
from pipeline.training.build_words import build_words
from pipeline.training.config import TrainConfig
from pipeline.training.encode import Encoded
from pipeline.training.finetune import FineTuned
from pipeline.training.head_of import HEADS
from pipeline.training.inputs import collator, encode
from pipeline.training.knowledge import Texts, with_texts
from pipeline.training.trainer import make_trainer

EPOCHS = 15  # as in the published script for relations, with batches of 16
TAGS = ["O", "B-MISC", "I-MISC"]
POSTS = 4_000  # number of MNRE's posts to train on


class Loop:
    """A training loop on MNRE's texts, for a few steps at a time.

    task: "re", or "ner" with heads and tails as entities.
    """

    def __init__(
        self, material: Material, device: str, posts: int = POSTS, task: str = "re", **config: Any
    ) -> None:
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self.config = TrainConfig(encoder=material.encoder, epochs=1, **config)
        transformers.set_seed(self.config.seed)
        head, numbered = HEADS[task], dict(enumerate(map(_tagged, material.posts[:posts])))
        known = TAGS if task == "ner" else sorted({str(p.relation) for p in numbered.values()})
        labels = head.labels(known, encoding_style(task, self.config.system, "paper"))
        self.pictures = None
        if self.config.variant != "text-only":
            self.pictures = material.pyramids(posts)
        self.model: System | FineTuned
        if declared(self.config.system).reads_words:
            splits = {"train": numbered}
            self.tokenizer, self.model, _ = build_words(head, splits, labels, self.config)
        else:
            self.tokenizer, self.model = build(
                head, numbered.values(), labels, self.config, self.pictures
            )
        made = self.model.config
        self.encoded = encode(head, numbered, self.tokenizer, labels, 80, made)
        self.collator = collator(head, self.tokenizer, made, self.pictures)
        if self.config.knowledge:
            texts = _captions(len(self.encoded))
            tokens = self.config.knowledge_tokens
            self.encoded = with_texts(self.encoded, texts, self.tokenizer, tokens)
        self.device = device

    def posts_a_second(self, steps: int) -> float:
        """Return the rate over `steps` steps, loading included, after two uncounted steps."""
        return self.config.batch_size * steps / self._run(steps)[0]

    def tokens_a_second(self, steps: int) -> float:
        """Return the rate as `posts_a_second`, in word pieces without padding."""
        seconds, tokens = self._run(steps)
        return tokens / seconds

    def _run(self, steps: int) -> tuple[float, int]:
        """Return the seconds that `steps` steps took, and their word pieces."""
        sizes = []
        with tempfile.TemporaryDirectory() as folder:
            data = {"train": self.encoded, "val": self.encoded[:8]}

            def counting(posts: Sequence[Encoded]) -> dict[str, Tensor]:
                sizes.append(sum(len(post.input_ids) for post in posts))
                return self.collator(posts)

            trainer = make_trainer(
                self.model, data, counting, self.config, Path(folder), self.device
            )
            trainer.args.eval_strategy = trainer.args.save_strategy = "no"
            trainer.args.load_best_model_at_end = False
            clock = _Clock(steps)
            trainer.add_callback(clock)
            trainer.train()
        return clock.ended - clock.began, sum(sizes[2 : 2 + steps])


def _tagged(post: Post) -> Post:
    """Return a post whose head and tail are tagged as entities."""
    tags = ["O"] * len(post.tokens)
    for start, end in filter(None, (post.head, post.tail)):
        tags[start:end] = [TAGS[1], *[TAGS[2]] * (end - start - 1)]
    return replace(post, tags=tuple(tags))


def _captions(posts: int) -> Texts:
    """Return texts of 5 to 50 words, as captioners and language models write them."""
    random = np.random.default_rng(0)
    words = "a man in red stands near the boat while people watch his dog on green grass".split()
    texts = [" ".join(random.choice(words, n)) for n in random.integers(5, 51, posts)]
    return lambda numbers: [texts[number] for number in numbers]


class _Clock(TrainerCallback):
    """Times the steps after the first two, then stops."""

    def __init__(self, steps: int) -> None:
        self.steps, self.began, self.ended = steps, 0.0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> Any:
        if state.global_step == 2:
            self.began = now()
        if state.global_step == 2 + self.steps:
            self.ended = now()
            control.should_training_stop = True
        return control


class UsualWay:
    """The training loop of `end_to_end` on the same posts."""

    def __init__(self, material: Material, loop: Loop, batch_size: int) -> None:
        self.model = end_to_end.EndToEnd(material.encoder, 23, list(CHANNELS)).train()
        self.optimizer = end_to_end.optimizer(self.model)
        self.files = material.pictures(64)
        self.posts, self.padding = loop.encoded, loop.tokenizer.pad_token_id
        self.batch_size, self.next = batch_size, 0

    def posts_a_second(self, steps: int) -> float:
        """Return the rate over `steps` steps; the first call begins with an uncounted step."""
        if self.next == 0:
            self._step()
        began = time.perf_counter()
        for _ in range(steps):
            self._step()
        return self.batch_size * steps / (time.perf_counter() - began)

    def _step(self) -> None:
        posts = self.posts[self.next : self.next + self.batch_size]
        self.next = (self.next + self.batch_size) % (len(self.posts) - self.batch_size)
        batch = end_to_end.collate(posts, self.files, self.padding)
        self.model(batch).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def train_fp32(material: Material, device: str) -> dict[str, Any]:
    """`TrainRE` from the cache in float32, batch 8 : the usual way."""
    return _against_usual(material, device, "float32", 8, ours=20, usual=3)


def train_bf16(material: Material, device: str) -> dict[str, Any]:
    """`TrainRE` from the cache in bfloat16, batch 32 : the usual way, float32, batch 32."""
    return _against_usual(material, device, "bfloat16", 32, ours=15, usual=1)


def _against_usual(
    material: Material, device: str, precision: str, batch_size: int, ours: int, usual: int
) -> dict[str, Any]:
    loop = Loop(material, device, precision=precision, batch_size=batch_size)
    baseline = UsualWay(material, loop, batch_size)
    result = in_turns(lambda: loop.posts_a_second(ours), lambda: baseline.posts_a_second(usual))
    baseline.model.resnet.requires_grad_(False)  # the same result, without unused gradients
    rate = baseline.posts_a_second(usual)
    return {**result, "unit": "posts/s", "usual_without_resnet_gradients": rate}


def prefix_cost(material: Material, device: str) -> dict[str, Any]:
    """Training with the prefix : the same loop text-only; bfloat16, batch 32."""
    options: dict[str, Any] = {"precision": "bfloat16", "batch_size": 32}
    loop = Loop(material, device, **options)
    texts = Loop(material, device, variant="text-only", **options)
    result = in_turns(lambda: loop.posts_a_second(16), lambda: texts.posts_a_second(16), rounds=4)
    return {**result, "unit": "posts/s"}


def knowledge_cost(material: Material, device: str) -> dict[str, Any]:
    """Training with picture texts : the same text-only loop without, word pieces a second."""
    options: dict[str, Any] = {"variant": "text-only", "batch_size": 32}
    loop = Loop(material, device, knowledge=True, **options)
    plain = Loop(material, device, **options)
    result = in_turns(lambda: loop.tokens_a_second(8), lambda: plain.tokens_a_second(16))
    return {**result, "unit": "pieces/s"}


def systems(material: Material, device: str) -> dict[str, Any]:
    """Training of the slowest system of Table 1 : text-only on the same BERT, batch 8.

    `rates` has the posts a second of all of them, for each task.
    """
    text_only: dict[str, Any] = {"variant": "text-only"}
    kinds = {"text-only": text_only, HVPNET: {"variant": HVPNET}} | {
        name: {"system": name, "variant": variants_of(name)[0]}
        for name in names()
        if name not in (HVPNET, BERT_CRF)
    }
    rates: dict[str, dict[str, float]] = {}
    slowest: list[dict[str, Any]] = []
    for task in ("re", "ner"):
        made = {n: k for n, k in kinds.items() if task in declared(k.get("system", HVPNET)).tasks}
        loops = {n: Loop(material, device, task=task, batch_size=8, **k) for n, k in made.items()}
        rounds = [{n: loop.posts_a_second(3) for n, loop in loops.items()} for _ in range(3)]
        rates[task] = {n: statistics.median(one[n] for one in rounds) for n in loops}
        last = min(rates[task], key=rates[task].__getitem__)
        slowest.append(entry([one[last] for one in rounds], [one["text-only"] for one in rounds]))
    return {**min(slowest, key=lambda one: one["ratio"]), "unit": "posts/s", "rates": rates}


def whole_job(material: Material, device: str) -> dict[str, Any]:
    """Extraction of MNRE's pictures and 15 epochs : the usual way's 15 epochs.

    Batches have 16 posts, as in the published script. Every picture is assumed to have three crops.
    Scoring after each epoch is counted for neither; the usual way would run its ResNet there too.
    """
    loop = Loop(material, device, precision="bfloat16", batch_size=16)
    usual = UsualWay(material, loop, 16)

    def jobs_an_hour() -> float:
        extraction = MNRE_PICTURES * REGIONS / rows_a_second(material, device, "bfloat16", 96)
        return 3600 / (extraction + EPOCHS * MNRE_POSTS / loop.posts_a_second(15))

    def usual_jobs_an_hour() -> float:
        return 3600 * usual.posts_a_second(1) / (EPOCHS * MNRE_POSTS)

    return {**in_turns(jobs_an_hour, usual_jobs_an_hour), "unit": "jobs/h"}


def crf_share(material: Material, device: str) -> dict[str, Any]:
    """Loss, its gradient, and decoding of the CRF : a TrainNER step; batch 8×80, 13 labels."""
    torch.manual_seed(0)
    bert = BertConfig().to_dict()
    labels = {n: str(n) for n in range(13)}
    model = EntityTagger(ExtractorConfig(encoder=bert, id2label=labels, variant="hvpnet")).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    where = torch.arange(80).expand(8, -1)
    batch: dict[str, Tensor] = {
        "input_ids": torch.randint(1000, 30_000, (8, 80)),
        "attention_mask": torch.ones(8, 80, dtype=torch.long),
        "words": where,
        "labels": torch.randint(0, 13, (8, 80)),
        "pyramid": torch.rand(8, REGIONS, sum(CHANNELS), 2, 2),
        "regions": torch.ones(8, REGIONS, dtype=torch.bool),
    }
    emissions = torch.randn(8, 80, 13, requires_grad=True)
    mask = torch.ones(8, 80, dtype=torch.bool)

    def crf() -> None:
        model.crf(emissions, batch["labels"], mask).backward()
        model.crf.decode(emissions, mask)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def rate(work: Callable[[], None]) -> Callable[[], float]:
        return lambda: _milliseconds(work)

    return {**in_turns(rate(crf), rate(step), rounds=5), "unit": "ms"}


def _milliseconds(work: Callable[[], None]) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def memory_train(material: Material, pictures: int, device: str) -> int:
    """Return the peak private memory (bytes) of ten training steps with a store of pictures."""
    posts = round(pictures * MNRE_POSTS / MNRE_PICTURES)
    with PeakMemory() as peak:
        loop = Loop(material, device, posts=posts, precision="bfloat16", batch_size=32)
        loop.posts_a_second(10)
    return peak.bytes
