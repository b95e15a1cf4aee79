"""Fine-tune an encoder on texts in the usual way, as a baseline for `--variant text-only`.

    python -m bench.plain mnre ENCODER --data ../shared/data --seed 1

No CRF, no buckets of similar length, no parameter groups: transformers' own head (a label for each
word's first piece; a relation from [CLS], entities marked in the text), AdamW at one rate, linear
schedule with 10 % warm-up, best validation epoch. Only the readers and the scores are the
project's. Prints one JSON line.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    get_linear_schedule_with_warmup,
    set_seed,
)

from pipeline import corpus
from pipeline.corpus.labels import tag_labels
from pipeline.corpus.post import Post
from pipeline.training.relations import MARKERS, mark_spans
from pipeline.training.score import entity_scores, relation_scores

IGNORED = -100


def main() -> None:
    """Train and score one data set."""
    parser = argparse.ArgumentParser(prog="python -m bench.plain")
    parser.add_argument("dataset", choices=["mnre", "twitter2015", "twitter2017"])
    parser.add_argument("encoder", help="hub name or folder")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--epochs", type=int, help="MNRE 8, tweets 10")
    parser.add_argument("--batch-size", type=int, help="MNRE 32, tweets 16")
    parser.add_argument("--bfloat16", action="store_true")
    asked = parser.parse_args()
    relations = asked.dataset == "mnre"
    asked.epochs = asked.epochs or (8 if relations else 10)
    asked.batch_size = asked.batch_size or (32 if relations else 16)
    set_seed(asked.seed)
    started = time.monotonic()
    data = corpus.read(corpus.locate(asked.dataset, asked.data))
    labels = data.relations or tag_labels(data.posts)
    tokenizer = AutoTokenizer.from_pretrained(asked.encoder, use_fast=True)
    kind = AutoModelForSequenceClassification if relations else AutoModelForTokenClassification
    model = kind.from_pretrained(asked.encoder, num_labels=len(labels), dtype="float32")
    if relations:
        tokenizer.add_tokens(list(MARKERS), special_tokens=True)
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    splits = {name: [p for p in data.posts if p.split == name] for name in corpus.SPLITS}
    encode = _relation_items if relations else _tag_items
    items: dict[str, Any] = {
        name: encode(posts, tokenizer, labels) for name, posts in splits.items()
    }
    collate: Any = (DataCollatorWithPadding if relations else DataCollatorForTokenClassification)(
        tokenizer
    )
    batches = torch.utils.data.DataLoader(
        items["train"], asked.batch_size, shuffle=True, collate_fn=collate
    )
    steps = asked.epochs * len(batches)
    optimizer = torch.optim.AdamW(model.parameters(), lr=asked.learning_rate, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    history = []
    for epoch in range(1, asked.epochs + 1):
        model.train()
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=asked.bfloat16):
                loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        scores = {
            name: _scores(model, items[name], splits[name], labels, collate, asked.bfloat16)
            for name in ("val", "test")
        }
        history.append((scores["val"]["f1"], epoch, scores["test"]))
    val, epoch, test = max(history, key=lambda entry: entry[:2])
    print(
        json.dumps(
            {
                **{name: str(value) for name, value in vars(asked).items()},
                "best_epoch": epoch,
                "val_f1": round(val, 2),
                "test": {n: round(test[n], 2) for n in ("precision", "recall", "f1")},
                "seconds": round(time.monotonic() - started),
            }
        )
    )


def _relation_items(posts: Sequence[Post], tokenizer: Any, labels: Sequence[str]) -> list[Any]:
    ids = tokenizer([mark_spans(p) for p in posts], is_split_into_words=True)["input_ids"]
    return [
        {"input_ids": row, "labels": labels.index(post.relation or "None")}
        for row, post in zip(ids, posts, strict=True)
    ]


def _tag_items(posts: Sequence[Post], tokenizer: Any, labels: Sequence[str]) -> list[Any]:
    """Encode posts with a label at each word's first piece and IGNORED elsewhere."""
    batch = tokenizer([list(p.tokens) for p in posts], is_split_into_words=True)
    items = []
    for n, post in enumerate(posts):
        words = batch.word_ids(n)
        first = [w is not None and w not in words[:place] for place, w in enumerate(words)]
        tags = post.tags or ()
        targets = [
            labels.index(tags[w]) if is_first else IGNORED
            for w, is_first in zip(words, first, strict=True)
        ]
        items.append({"input_ids": batch["input_ids"][n], "labels": targets})
    return items


@torch.no_grad()
def _scores(
    model: Any,
    items: Any,
    posts: Sequence[Post],
    labels: Sequence[str],
    collate: Any,
    bfloat16: bool,
) -> dict[str, Any]:
    model.eval()
    answers: list[Any] = []
    for batch in torch.utils.data.DataLoader(items, 64, collate_fn=collate):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            best = model(**batch).logits.argmax(-1)
        if best.ndim == 1:
            answers += [labels[n] for n in best.tolist()]
        else:
            kept = batch["labels"] != IGNORED
            answers += [
                [labels[n] for n in row[k].tolist()] for row, k in zip(best, kept, strict=True)
            ]
    if isinstance(answers[0], str):
        return relation_scores([post.relation or "None" for post in posts], answers)
    # Words that the tokenizer drops are left out of both predicted and gold tags.
    gold = [[labels[n] for n in item["labels"] if n != IGNORED] for item in items]
    return entity_scores(gold, answers)


if __name__ == "__main__":
    main()
