"""What a user can change, and which stages must run because of it: the table is the test.

A cell names the stages that go stale, each letter in its column; a point is a stage that stays:

    M MakeDemo  R ReadPosts  G GroundCrops  X ExtractPyramid  V DescribePictures
    T TrainRE  N TrainNER  O TrainRE --variant text-only  E Evaluate, of a model that reads pictures
    P Predict, by two models that read pictures
    H ShowPredictions, of a model that reads pictures beside one that reads text alone
    S ShowCrops  W WriteCrops  B EvaluateGrounding  I ImportReleased
    C Controls, of a model that reads pictures
    1 Table1  L LowResource  K CrossTask  A Gates  D Cases, each of runs that read pictures

An experiment is stale if one of its runs is. It gives the runs their variant, style and seed, and
some more: Table1 the crops, LowResource recipe and share.
"""

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import tasks
from pipeline import corpus
from pipeline.engine.status import status
from tests.cli import HOME, luigi, outputs
from tests.staleness import (
    COLUMNS,
    PRECISION_IS_CHOSEN_BY,
    Layouts,
    add,
    alter,
    alter_and_set_clock_back,
    alter_result,
    columns,
    copy_of,
    differing,
    drop,
    link,
    lose_manifest,
    lose_result,
    make,
    move,
    name_relatively,
    output,
    own_values,
    parser,
    plain_machine,
    remove,
    rename,
    replace_all_by_copies,
    replace_by_copy,
    set_clock_back,
    set_clock_forward,
    touch,
    touch_result,
    use_another_store,
    work_elsewhere,
    write_layouts,
)
from tests.world import write_own_data

NOTHING = "." * len(COLUMNS)
DETECTOR = {"GroundCrops.grounder": "detector", "GroundCrops.weights": "FILES/detector"}
FAOA = {
    "GroundCrops.grounder": "faoa",
    "GroundCrops.weights": "FILES/lstm_flickr_model.pth.tar",
    "GroundCrops.vocabulary": "FILES/words.json",
}
TEXTS = {"DescribePictures.files": "FILES/captions.jsonl"}
MODELS = ("Evaluate", "Predict", "ShowPredictions", "Controls")  # of a saved model
CONTEXTS: dict[str, tuple[str, dict[str, str]]] = {  # data set, and what else is given
    "own": ("own", {}),
    "mnre": ("mnre", {}),  # with the released crops
    "twitter": ("twitter2015", {}),
    "demo": ("demo", {}),
    "detector": ("own", DETECTOR),
    "faoa": ("own", FAOA),
    "salience": ("own", {"GroundCrops.grounder": "salience"}),
    "none": ("own", {"GroundCrops.grounder": "none"}),
    "texts": ("own", {"DescribePictures.files": "FILES/captions.jsonl,FILES/knowledge.jsonl"}),
    "ocr": ("own", {"DescribePictures.describer": "ocr"}),
    "objects": ("own", {"DescribePictures.describer": "objects"}),
    # Trainings, and saved models, that read picture texts.
    "knows": ("own", {**TEXTS, "TrainRE.knowledge": "true", "TrainNER.knowledge": "true"}),
    "reads": ("own", {**TEXTS, **{f"{name}.model": "FILES/reader" for name in MODELS}}),
    "random": ("own", {"ExtractPyramid.weights": "random"}),
    "tuned": ("own", {f"{task}.finetune_backbone": "true" for task in ("TrainRE", "TrainNER")}),
    "words": ("own", {f"{task}.variant": "text-only" for task in ("TrainRE", "TrainNER")}),
    "seeds": ("own", {f"{task}.seeds": "1,49" for task in ("TrainRE", "TrainNER")}),
    "share": ("own", {f"{task}.train_share": "0.5" for task in ("TrainRE", "TrainNER")}),
    "one epoch": ("own", {f"{task}.epochs": "1" for task in ("TrainRE", "TrainNER")}),
    "pcnn": ("own", {"TrainRE.system": "pcnn"}),
    "sgd": ("own", {f"{task}.optimizer": "sgd" for task in ("TrainRE", "TrainNER")}),
    "no decay": ("own", {f"{task}.weight_decay": "0" for task in ("TrainRE", "TrainNER")}),
}


# fmt: off
SOURCES = [
    # data set, what happens to a file below the data root                  MRGXVTNOEPHSWBIC1LKAD
    ("own", alter, "own/posts.jsonl",                                      ".RGXVTNOEPHSWBIC1LKAD"),
    ("own", alter, "own/pictures/a.jpg",                                   "..GXVTN.EPHSWB.C1LKAD"),
    ("own", add, "own/pictures/c.jpg",                                     "..GXVTN.EPHSWB.C1LKAD"),
    ("own", add, "own/pictures/more/c.jpg",                                "..GXVTN.EPHSWB.C1LKAD"),
    ("own", remove, "own/pictures/a.jpg",                                  "..GXVTN.EPHSWB.C1LKAD"),
    ("own", rename, "own/pictures/a.jpg",                                  "..GXVTN.EPHSWB.C1LKAD"),
    ("own", alter, "own/pictures/.hidden",                                 NOTHING),
    ("own", remove, "own/pictures/.hidden",                                NOTHING),
    ("own", add, "own/.hidden",                                            NOTHING),
    ("own", add, "own/notes.txt",                                          NOTHING),
    ("own", replace_by_copy, "own/pictures/linked.jpg",                    "..GXVTN.EPHSWB.C1LKAD"),
    ("bare", add, "bare/pictures/a.jpg",                                   "..GXVTN.EPHSWB.C1LKAD"),
    ("own", add, "other/posts.jsonl",                                      NOTHING),
    ("labelled", alter, "labelled/texts/train/train.json",                 ".RGXVTNOEPHSWBIC1LKAD"),
    ("labelled", alter, "labelled/texts/dev/dev.json",                     ".RGXVTNOEPHSWBIC1LKAD"),
    ("labelled", alter, "labelled/texts/test/test.json",                   ".RGXVTNOEPHSWBIC1LKAD"),
    ("labelled", alter, "labelled/images/dev/a.jpg",                       "..GXVTN.EPHSWB.C1LKAD"),
    ("labelled", add, "labelled/images/test/b.jpg",                        "..GXVTN.EPHSWB.C1LKAD"),
    ("labelled", add, "labelled/posts.jsonl",                              ".RGXVTNOEPHSWBIC1LKAD"),
    ("mnre", alter, "RE_data/txt/ours_train.txt",                          ".RGXVTNOEPHSWBIC1LKAD"),
    ("mnre", alter, "RE_data/txt/ours_val.txt",                            ".RGXVTNOEPHSWBIC1LKAD"),
    ("mnre", alter, "RE_data/txt/ours_test.txt",                           ".RGXVTNOEPHSWBIC1LKAD"),
    ("mnre", alter, "RE_data/txt/ours_rel2id.json",                        ".RGXVTNOEPHSWBIC1LKAD"),
    ("mnre", remove, "RE_data/txt/ours_rel2id.json",                       ".RGXVTNOEPHSWBIC1LKAD"),
    ("mnre", alter, "RE_data/txt/mre_train_dict.pth",                      ".RGXVTNOEPHSWBIC1LKAD"),
    ("mnre", alter, "RE_data/txt/mre_dev_dict.pth",                        ".RGXVTNOEPHSWBIC1LKAD"),
    ("mnre", alter, "RE_data/txt/mre_test_dict.pth",                       ".RGXVTNOEPHSWBIC1LKAD"),
    ("mnre", remove, "RE_data/txt/mre_test_dict.pth",                      ".RGXVTNOEPHSWBIC1LKAD"),
    ("mnre", add, "RE_data/mre_test_dict.pth",                             NOTHING),  # second place
    ("mnre", alter, "RE_data/img_org/train/a.jpg",                         "..GXVTN.EPHSWB.C1LKAD"),
    ("mnre", alter, "RE_data/img_org/val/a.jpg",                           "..GXVTN.EPHSWB.C1LKAD"),
    ("mnre", rename, "RE_data/img_org/test/a.jpg",                         "..GXVTN.EPHSWB.C1LKAD"),
    ("mnre", add, "RE_data/img_org/b.jpg",                                 NOTHING),
    ("mnre", add, "RE_data/pictures/b.jpg",                                NOTHING),
    ("mnre", alter, "RE_data/img_vg/train/crops/a.png",                    "..GX.TN.EPHSWB.C1LKAD"),
    ("mnre", remove, "RE_data/img_vg/val/crops/a.png",                     "..GX.TN.EPHSWB.C1LKAD"),
    ("mnre", add, "RE_data/img_vg/test/crops/b.png",                       "..GX.TN.EPHSWB.C1LKAD"),
    ("twitter2015", alter, "NER_data/twitter2015/train.txt",               ".RGXVTNOEPHSWBIC1LKAD"),
    ("twitter2015", alter, "NER_data/twitter2015/valid.txt",               ".RGXVTNOEPHSWBIC1LKAD"),
    ("twitter2015", alter, "NER_data/twitter2015/test.txt",                ".RGXVTNOEPHSWBIC1LKAD"),
    ("twitter2015", alter, "NER_data/twitter2015/twitter2015_val_dict.pth",
     ".RGXVTNOEPHSWBIC1LKAD"),
    ("twitter2015", remove, "NER_data/twitter2015/twitter2015_val_dict.pth",
     ".RGXVTNOEPHSWBIC1LKAD"),
    ("twitter2015", alter, "NER_data/twitter2015_images/a.jpg",            "..GXVTN.EPHSWB.C1LKAD"),
    ("twitter2015", alter, "NER_data/twitter2015_aux_images/val/crops/a.png",
     "..GX.TN.EPHSWB.C1LKAD"),
    ("twitter2015", add, "NER_data/twitter2017_images/a.jpg",              NOTHING),
    ("typed", alter, "NER_data/typed/train.txt",                           ".RGXVTNOEPHSWBIC1LKAD"),
    ("typed", alter, "NER_data/typed/valid.txt",                           ".RGXVTNOEPHSWBIC1LKAD"),
    ("typed", alter, "NER_data/typed/test.txt",                            ".RGXVTNOEPHSWBIC1LKAD"),
    ("typed", add, "typed/posts.jsonl",                                    ".RGXVTNOEPHSWBIC1LKAD"),
    ("typed", alter, "NER_data/typed_images/a.jpg",                        "..GXVTN.EPHSWB.C1LKAD"),
    ("demo", add, "demo/posts.jsonl",                                      NOTHING),
]

PARAMETERS = [
    # where, parameter, value                                MRGXVTNOEPHSWBIC1LKAD
    ("demo", "MakeDemo.seed", "1",                          "MRGXVTNOEPHSWBIC1LKAD"),
    ("own", "MakeDemo.seed", "1",                            NOTHING),
    ("demo", "MakeDemo.difficulty", "hard",                 "MRGXVTNOEPHSWBIC1LKAD"),
    ("demo", "MakeDemo.difficulty", "easy",                  NOTHING),
    ("own", "ReadPosts.split", "70,20,10",                  ".RGXVTNOEPHSWBIC1LKAD"),
    ("own", "ReadPosts.split", " 80, 10,10",                 NOTHING),
    ("own", "ReadPosts.split_seed", "1",                    ".RGXVTNOEPHSWBIC1LKAD"),
    ("own", "ReadPosts.unlabelled_pairs", "none",           ".RGXVTNOEPHSWBIC1LKAD"),
    ("own", "ReadPosts.none_label", "no_relation",          ".RGXVTNOEPHSWBIC1LKAD"),
    ("mnre", "ReadPosts.split", "70,20,10",                  NOTHING),  # it has its splits
    ("twitter", "ReadPosts.none_label", "no_relation",       NOTHING),
    ("demo", "ReadPosts.unlabelled_pairs", "none",           NOTHING),
    ("own", "GroundCrops.grounder", "none",                 "..GX.TN.EPHSWB.C1LKAD"),
    ("demo", "GroundCrops.grounder", "salience",             NOTHING),  # what auto means there
    ("mnre", "GroundCrops.grounder", "released",             NOTHING),
    # Phrases are told in crops.jsonl and on the page, also where no grounder reads them.
    ("own", "GroundCrops.phrases", "nltk",                  "..GX.TN.EPHSWB.C1LKAD"),
    ("detector", "GroundCrops.phrases", "types",            "..GX.TN.EPHSWB.C1LKAD"),
    ("own", "GroundCrops.phrases", "auto",                   NOTHING),
    ("own", "GroundCrops.max_crops", "2",                   "..GX.TN.EPHSWB.C1LKAD"),
    ("mnre", "GroundCrops.max_crops", "2",                  "..GX.TN.EPHSWB.C1LKAD"),
    ("detector", "GroundCrops.order", "phrase",             "..GX.TN.EPHSWB.C1LKAD"),
    ("salience", "GroundCrops.order", "phrase",              NOTHING),
    ("mnre", "GroundCrops.order", "phrase",                  NOTHING),
    ("detector", "GroundCrops.min_score", "0.3",            "..GX.TN.EPHSWB.C1LKAD"),
    ("detector", "GroundCrops.min_score", "0.250",           NOTHING),  # a detector's own
    ("salience", "GroundCrops.min_score", "0.3",            "..GX.TN.EPHSWB.C1LKAD"),
    ("salience", "GroundCrops.min_score", "0",               NOTHING),
    ("faoa", "GroundCrops.min_score", "0",                   NOTHING),
    ("mnre", "GroundCrops.min_score", "0.3",                 NOTHING),
    ("none", "GroundCrops.min_score", "0.3",                 NOTHING),
    ("detector", "GroundCrops.overlap", "0.6",              "..GX.TN.EPHSWB.C1LKAD"),
    ("salience", "GroundCrops.overlap", "0.6",              "..GX.TN.EPHSWB.C1LKAD"),
    ("mnre", "GroundCrops.overlap", "0.6",                   NOTHING),
    ("none", "GroundCrops.overlap", "0.6",                   NOTHING),
    ("detector", "GroundCrops.boxes_per_phrase", "2",       "..GX.TN.EPHSWB.C1LKAD"),
    ("salience", "GroundCrops.boxes_per_phrase", "2",        NOTHING),
    ("detector", "GroundCrops.fallback", "none",            "..GX.TN.EPHSWB.C1LKAD"),
    ("faoa", "GroundCrops.fallback", "salience",            "..GX.TN.EPHSWB.C1LKAD"),
    ("salience", "GroundCrops.fallback", "none",             NOTHING),
    ("mnre", "GroundCrops.fallback", "none",                 NOTHING),
    ("own", "GroundCrops.weights", "FILES/detector",        "..GX.TN.EPHSWB.C1LKAD"),
    ("salience", "GroundCrops.weights", "FILES/detector",    NOTHING),
    ("mnre", "GroundCrops.weights", "FILES/detector",        NOTHING),
    ("faoa", "GroundCrops.vocabulary", "bert-base-uncased", "..GX.TN.EPHSWB.C1LKAD"),
    ("detector", "GroundCrops.vocabulary", "FILES/words.json", NOTHING),
    ("faoa", "GroundCrops.trained_on", "unc",               "..GX.TN.EPHSWB.C1LKAD"),
    ("faoa", "GroundCrops.trained_on", "flickr",             NOTHING),  # as the file's name tells
    ("detector", "GroundCrops.trained_on", "unc",            NOTHING),
    ("detector", "GroundCrops.precision", "bfloat16",       "..GX.TN.EPHSWB.C1LKAD"),
    ("faoa", "GroundCrops.precision", "bfloat16",           "..GX.TN.EPHSWB.C1LKAD"),
    ("salience", "GroundCrops.precision", "bfloat16",        NOTHING),
    ("detector", "GroundCrops.longest_side", "640",         "..GX.TN.EPHSWB.C1LKAD"),
    ("faoa", "GroundCrops.longest_side", "640",              NOTHING),
    ("none", "GroundCrops.longest_side", "640",              NOTHING),
    ("detector", "GroundCrops.device", "cpu",                NOTHING),
    ("detector", "GroundCrops.batch_size", "1",              NOTHING),
    ("detector", "GroundCrops.threads", "1",                 NOTHING),
    ("own", "ShowCrops.posts", "7",                         "...........S........."),
    ("own", "EvaluateGrounding.boxes", "FILES/encoder",     ".............B......."),
    ("own", "EvaluateGrounding.split", "test",              ".............B......."),
    ("own", "ExtractPyramid.backbone", "resnet18",          "...X.TN.EPH....C1LKAD"),
    ("own", "ExtractPyramid.weights", "IMAGENET1K_V2",      "...X.TN.EPH....C1LKAD"),
    ("own", "ExtractPyramid.weights", "FILES/resnet.pth",   "...X.TN.EPH....C1LKAD"),
    ("random", "ExtractPyramid.seed", "5",                  "...X.TN.EPH....C1LKAD"),
    ("own", "ExtractPyramid.seed", "5",                      NOTHING),
    ("own", "ExtractPyramid.grid", "3",                     "...X.TN.EPH....C1LKAD"),
    ("own", "ExtractPyramid.pooling", "adaptive",           "...X.TN.EPH....C1LKAD"),
    ("own", "ExtractPyramid.resize", "stretch",             "...X.TN.EPH....C1LKAD"),
    ("own", "ExtractPyramid.size", "256",                   "...X.TN.EPH....C1LKAD"),
    ("own", "ExtractPyramid.precision", "bfloat16",         "...X.TN.EPH....C1LKAD"),
    ("own", "ExtractPyramid.device", "cpu",                  NOTHING),
    ("own", "ExtractPyramid.batch_size", "1",                NOTHING),
    ("own", "ExtractPyramid.threads", "1",                   NOTHING),
    ("own", "ExtractPyramid.crops", "nltk",                 "...X................."),
    ("own", "DescribePictures.describer", "objects",        "....V................"),
    ("own", "DescribePictures.describer", "captioner",       NOTHING),
    ("texts", "DescribePictures.describer", "file",          NOTHING),
    ("texts", "DescribePictures.describer", "captioner",    "....V................"),
    ("own", "DescribePictures.files", "FILES/captions.jsonl", "....V................"),
    ("texts", "DescribePictures.files", "FILES/captions.jsonl", "....V................"),
    ("texts", "DescribePictures.files", "FILES/knowledge.jsonl,FILES/captions.jsonl",
     "....V................"),
    ("objects", "DescribePictures.files", "FILES/captions.jsonl", NOTHING),
    ("own", "DescribePictures.weights", "FILES/captioner",  "....V................"),
    ("texts", "DescribePictures.weights", "FILES/captioner", NOTHING),
    ("own", "DescribePictures.prompt", "a photo of",        "....V................"),
    ("ocr", "DescribePictures.prompt", "a photo of",         NOTHING),
    ("own", "DescribePictures.length", "7",                 "....V................"),
    ("objects", "DescribePictures.length", "7",              NOTHING),
    ("own", "DescribePictures.precision", "bfloat16",       "....V................"),
    ("ocr", "DescribePictures.precision", "bfloat16",        NOTHING),
    ("own", "DescribePictures.device", "cpu",                NOTHING),
    ("own", "DescribePictures.batch_size", "1",              NOTHING),
    ("own", "DescribePictures.threads", "1",                 NOTHING),
    ("objects", "GroundCrops.max_crops", "2",               "..GXVTN.EPHSWB.C1LKAD"),
    ("knows", "DescribePictures.files", "FILES/knowledge.jsonl", "....VTNO........1LKAD"),
    ("reads", "DescribePictures.files", "FILES/knowledge.jsonl", "....V...EPH....C....."),
    ("reads", "Evaluate.knowledge_from", "FILES/knowledge.jsonl", "........E............"),
    ("reads", "Evaluate.knowledge_from", "FILES/captions.jsonl", NOTHING),
    ("own", "Evaluate.knowledge_from", "FILES/captions.jsonl", NOTHING),
    ("reads", "Predict.knowledge_from", "objects",          ".........P..........."),
    ("reads", "ShowPredictions.knowledge_from", "objects",  "..........H.........."),
    ("reads", "Controls.knowledge_from", "objects",         "...............C....."),
    ("own", "ShowCrops.texts", "FILES/captions.jsonl",      "...........S........."),
    ("own", "ShowCrops.texts", "objects",                   "...........S........."),
    ("own", "Evaluate.model", "FILES/words",                "........E............"),
    ("own", "Evaluate.model", "FILES/run/model",             NOTHING),  # within the run's folder
    ("own", "Evaluate.precision", "bfloat16",               "........E............"),
    ("own", "Evaluate.device", "cpu",                        NOTHING),
    ("own", "Evaluate.crops", "nltk",                       "........E............"),
    ("own", "Predict.model", "FILES/entities",              ".........P..........."),
    ("own", "Predict.model", "FILES/relations , FILES/entities/model", NOTHING),
    ("own", "Predict.precision", "bfloat16",                ".........P..........."),
    ("own", "Predict.precision", "float32",                  NOTHING),  # that of the training
    ("own", "Predict.device", "cpu",                         NOTHING),
    ("own", "Predict.batch_size", "1",                       NOTHING),
    ("own", "Predict.crops", "nltk",                        ".........P..........."),
    ("own", "ShowPredictions.model", "FILES/entities",      "..........H.........."),
    ("own", "ShowPredictions.beside", "FILES/entities",     "..........H.........."),
    ("own", "ShowPredictions.posts", "3",                   "..........H.........."),
    ("own", "ShowPredictions.split", "val",                 "..........H.........."),
    ("own", "ShowPredictions.device", "cpu",                 NOTHING),
    ("own", "ShowPredictions.crops", "nltk",                "..........H.........."),
    ("own", "ImportReleased.checkpoint", "FILES/resnet.pth", "..............I......"),
    ("own", "ImportReleased.tokenizer", "FILES/tokenizer",  "..............I......"),
    ("own", "Controls.model", "FILES/entities",             "...............C....."),
    ("own", "Controls.model", "FILES/looker/model",          NOTHING),
    ("own", "Controls.seed", "1",                           "...............C....."),
    ("own", "Controls.precision", "bfloat16",               "...............C....."),
    ("own", "Controls.precision", "float32",                 NOTHING),  # that of the training
    ("own", "Controls.device", "cpu",                        NOTHING),
    ("own", "Controls.crops", "nltk",                       "...............C....."),
    ("own", "Table1.tasks", "ner",                          "................1...."),
    ("own", "Table1.seeds", "7",                            "................1...."),
    ("own", "Table1.seeds", "1",                             NOTHING),  # the paper's first
    ("own", "Table1.variants", "flat",                      "................1...."),
    ("own", "Table1.styles", "released",                    "................1...."),
    ("own", "Table1.quick", "false",                        "................1...."),
    ("detector", "Table1.crops", "types",                   "................1...."),
    ("own", "Table1.knowledge", "FILES/captions.jsonl",     "................1...."),
    ("own", "TrainRE.system", "mtb",                        ".....T.O............."),
    ("own", "TrainNER.system", "bert-crf",                  "......N.............."),
    ("pcnn", "TrainRE.form", "zeng",                        ".....T.O............."),
    ("pcnn", "TrainRE.form", "opennre",                      NOTHING),  # the usual one
    ("pcnn", "TrainRE.word_vectors", "FILES/words.json",    ".....T.O............."),
    ("words", "TrainNER.system", "bert-crf",                 NOTHING),  # the same training
    ("own", "Table1.knowledge", "none",                      NOTHING),
    ("own", "Table1.systems", "all",                        "................1...."),
    ("own", "Table1.systems", "hvpnet",                      NOTHING),  # its row is there
    ("own", "LowResource.tasks", "ner",                     ".................L..."),
    ("own", "LowResource.seeds", "7",                       ".................L..."),
    ("own", "LowResource.seeds", "1",                        NOTHING),  # the paper's first
    ("own", "LowResource.variants", "flat",                 ".................L..."),
    ("own", "LowResource.styles", "released",               ".................L..."),
    ("own", "LowResource.quick", "false",                   ".................L..."),
    ("own", "LowResource.shares", "20",                     ".................L..."),
    ("own", "LowResource.shares", "10.0",                    NOTHING),
    ("own", "LowResource.with_replacement", "true",         ".................L..."),
    ("own", "CrossTask.tasks", "ner",                       "..................K.."),
    ("own", "CrossTask.seeds", "7",                         "..................K.."),
    ("own", "CrossTask.seeds", "1",                          NOTHING),  # the paper's first
    ("own", "CrossTask.variants", "flat",                   "..................K.."),
    ("own", "CrossTask.styles", "released",                 "..................K.."),
    ("own", "CrossTask.quick", "false",                     "..................K.."),
    ("own", "Gates.tasks", "re",                            "...................A."),
    ("own", "Gates.seeds", "7",                             "...................A."),
    ("own", "Gates.seeds", "1,7",                            NOTHING),  # one run is shown
    ("own", "Gates.variants", "only-objects",               "...................A."),
    ("own", "Gates.styles", "released",                     "...................A."),
    ("own", "Gates.quick", "true",                           NOTHING),
    ("own", "Gates.posts", "17",                            "...................A."),
    ("own", "Gates.most", "3",                              "...................A."),
    ("own", "Gates.device", "cpu",                           NOTHING),
    ("own", "Cases.tasks", "re",                            "....................D"),
    ("own", "Cases.seeds", "7",                             "....................D"),
    ("own", "Cases.seeds", "1,7",                            NOTHING),  # one run is shown
    ("own", "Cases.variants", "only-objects",               "....................D"),
    ("own", "Cases.styles", "released",                     "....................D"),
    ("own", "Cases.quick", "true",                           NOTHING),
    ("own", "Cases.systems", "mtb",                         "....................D"),
    ("own", "Cases.systems", "hvpnet",                       NOTHING),
    ("own", "Cases.posts", "17",                            "....................D"),
    ("own", "Cases.most", "3",                              "....................D"),
    ("own", "Cases.device", "cpu",                           NOTHING),
]

TRAINING = [
    # where, parameter of both tasks, value                  MRGXVTNOEPHSWBIC1LKAD
    ("own", "recipe", "released",                           ".....TNO........1.KAD"),
    ("demo", "variant", "flat",                             ".....TN.............."),
    ("own", "variant", "text-only",                         ".....TN.............."),
    ("own", "variant", "hvpnet",                             NOTHING),
    ("own", "style", "released",                            ".....TNO............."),
    ("own", "encoder", "scratch",                           ".....TNO........1LKAD"),
    ("own", "encoder", "FILES/encoder",                     ".....TNO........1LKAD"),
    ("demo", "encoder", "scratch",                           NOTHING),
    ("own", "seed", "7",                                    ".....TNO............."),
    ("seeds", "seed", "7",                                   NOTHING),
    ("own", "seeds", "1,49",                                ".....TNO............."),
    ("seeds", "seeds", "1,49,1234",                         ".....TNO............."),
    ("seeds", "seeds", "1, 49,1",                            NOTHING),
    ("seeds", "seeds", "49,1", NOTHING),
    ("own", "epochs", "5",                                  ".....TNO........1LKAD"),
    ("own", "batch_size", "4",                              ".....TNO........1LKAD"),
    ("own", "learning_rate", "0.5",                         ".....TNO........1LKAD"),
    ("seeds", "learning_rate", "0.5",                       ".....TNO........1LKAD"),
    ("own", "head_learning_rate", "0.5",                    ".....TNO........1LKAD"),
    ("own", "head_learning_rate", "1e-5", "......N.........1LKAD"),
    ("own", "weight_decay", "0.5",                          ".....TNO........1LKAD"),
    ("own", "decay_all", "true",                            ".....TNO........1LKAD"),
    ("own", "decay_all", "false",                            NOTHING),
    ("no decay", "decay_all", "true", NOTHING),
    ("own", "warmup", "0.5",                                ".....TNO........1LKAD"),
    ("own", "evaluate_from", "2",                           ".....TNO........1LKAD"),
    ("one epoch", "evaluate_from", "5", NOTHING),
    ("own", "max_tokens", "60",                             ".....TNO........1LKAD"),
    ("own", "dropout", "0.5",                               ".....TNO........1LKAD"),
    ("own", "max_grad_norm", "0.5",                         ".....TNO........1LKAD"),
    ("own", "precision", "bfloat16",                        ".....TNO........1LKAD"),
    ("own", "finetune_backbone", "true",                    ".....TN.........1LKAD"),
    ("words", "finetune_backbone", "true",                  "................1LKAD"),
    ("tuned", "backbone_learning_rate", "0.5",              ".....TN.........1LKAD"),
    ("own", "backbone_learning_rate", "0.5",                 NOTHING),
    ("own", "start_from", "FILES/start",                    ".....TNO........1L.AD"),
    ("own", "start_from", "FILES/start/model",              ".....TNO........1L.AD"),
    ("own", "train_share", "0.05",                          ".....TNO........1.KAD"),
    ("share", "train_share", "0.50",                         NOTHING),
    ("share", "train_seed", "7",                            ".....TNO........1LKAD"),
    ("share", "train_seed", "1234",                         "................1LKAD"),  # it is T's
    # Only LowResource draws posts.
    ("own", "train_seed", "7",                              ".................L..."),
    ("own", "with_replacement", "true",                     ".....TNO........1.KAD"),
    ("share", "with_replacement", "true",                   ".....TNO........1.KAD"),
    ("share", "with_replacement", "false",                   NOTHING),
    ("own", "device", "cpu",                                 NOTHING),
    ("own", "report_to", "tensorboard",                      NOTHING),
    ("own", "max_unknown", "0.5",                            NOTHING),
    ("own", "crops", "nltk",                                ".....TN..........LKAD"),
    ("own", "knowledge", "true",                            ".....TNO........1LKAD"),
    ("knows", "knowledge_from", "FILES/knowledge.jsonl",    ".....TNO........1LKAD"),
    ("knows", "knowledge_from", "FILES/captions.jsonl",      NOTHING),  # as configured
    ("knows", "knowledge_tokens", "32",                     ".....TNO........1LKAD"),
    ("own", "knowledge_tokens", "32",                        NOTHING),
    ("knows", "shuffle_knowledge", "true",                  ".....TNO........1LKAD"),
    ("own", "system", "hvpnet",                              NOTHING),
    ("own", "optimizer", "adamw-uncorrected",               ".....TNO........1LKAD"),
    ("own", "optimizer", "adamw",                            NOTHING),
    ("sgd", "momentum", "0.9",                              ".....TNO........1LKAD"),
    ("sgd", "momentum", "0",                                 NOTHING),
    ("own", "rate_schedule", "step",                        ".....TNO........1LKAD"),
    ("own", "rate_schedule", "linear",                       NOTHING),
    ("own", "relation_head", "cls",                         ".....T.O........1LKAD"),  # not N's
    ("own", "relation_head", "markers",                      NOTHING),
    ("seeds", "relation_head", "cls",                       ".....T.O........1LKAD"),
]

READ = [
    # where, option that names it, the file that is altered                 MRGXVTNOEPHSWBIC1LKAD
    ("detector", "GroundCrops.weights", "detector/model.safetensors",      "..GX.TN.EPHSWB.C1LKAD"),
    ("detector", "GroundCrops.weights", "detector/config.json",            "..GX.TN.EPHSWB.C1LKAD"),
    ("faoa", "GroundCrops.weights", "lstm_flickr_model.pth.tar",           "..GX.TN.EPHSWB.C1LKAD"),
    ("faoa", "GroundCrops.vocabulary", "words.json",                       "..GX.TN.EPHSWB.C1LKAD"),
    ("own", "ExtractPyramid.weights", "resnet.pth",                        "...X.TN.EPH....C1LKAD"),
    ("own", "DescribePictures.files", "captions.jsonl",                    "....V................"),
    ("own", "DescribePictures.weights", "captioner/model.safetensors",     "....V................"),
    ("knows", "DescribePictures.files", "captions.jsonl",                  "....VTNO........1LKAD"),
    ("own", "ShowCrops.texts", "captions.jsonl",                           "...........S........."),
    ("pcnn", "TrainRE.word_vectors", "words.json",                         ".....T.O............."),
    ("own", "TrainRE.encoder", "encoder/model.safetensors",                ".....T.O........1LKAD"),
    ("own", "TrainNER.encoder", "encoder/model.safetensors",               "......N.........1LKAD"),
    ("own", "TrainRE.start_from", "start/model/model.safetensors",         ".....T.O........1L.AD"),
    ("own", "TrainNER.start_from", "start/model/tokenizer.json",           "......N.........1L.AD"),
    ("own", "Evaluate.model", "run/model/model.safetensors",               "........E............"),
    ("own", "Predict.model", "entities/model/model.safetensors",           ".........P..........."),
    ("own", "ShowPredictions.model", "tagger/model/model.safetensors",     "..........H.........."),
    ("own", "ShowPredictions.beside", "entities-of-text/model/model.safetensors",
     "..........H.........."),
    ("own", "Controls.model", "looker/model/model.safetensors",            "...............C....."),
    ("own", "EvaluateGrounding.boxes", "boxes/a.xml",                      ".............B......."),
    ("own", "ImportReleased.checkpoint", "best_model.pth",                 "..............I......"),
    ("own", "ImportReleased.tokenizer", "tokenizer/vocab.txt",             "..............I......"),
]

VERSIONS = [
    # stage                  MRGXVTNOEPHSWBIC1LKAD
    ("MakeDemo",            "MRGXVTNOEPHSWBIC1LKAD"),
    ("ReadPosts",           ".RGXVTNOEPHSWBIC1LKAD"),
    ("GroundCrops",         "..GX.TN.EPHSWB.C1LKAD"),
    ("ExtractPyramid",      "...X.TN.EPH....C1LKAD"),
    ("DescribePictures",    "....V................"),
    ("TrainRE",             ".....T.O........1LKAD"),
    ("TrainNER",            "......N.........1LKAD"),
    ("Evaluate",            "........E............"),
    ("Predict",             ".........P..........."),
    ("ShowPredictions",     "..........H.........."),
    ("ShowCrops",           "...........S........."),
    ("WriteCrops",          "............W........"),
    ("EvaluateGrounding",   ".............B......."),
    ("ImportReleased",      "..............I......"),
    ("Controls",            "...............C1LK.."),
    ("Table1",              "................1...."),
    ("LowResource",         ".................L..."),
    ("CrossTask",           "..................K.."),
    ("Gates",               "...................A."),
    ("Cases",               "....................D"),
]
# fmt: on


STAGES = tasks.STAGES


@pytest.fixture(autouse=True, scope="module")
def machine() -> Iterator[None]:
    with plain_machine():
        yield


@pytest.fixture
def world(tmp_path: Path) -> Layouts:
    return write_layouts(tmp_path)


@pytest.fixture(scope="module")
def still(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    """A world that no test alters."""
    return write_layouts(tmp_path_factory.mktemp("still"))


def stale(world: Layouts, where: str, options: dict[str, str]) -> str:
    """What goes stale when these options are given too."""
    dataset, given = CONTEXTS[where]
    return differing(_as_it_is(world, where), world.fingerprints(dataset, given | options))


@cache
def _as_it_is(world: Layouts, where: str) -> dict[str, str]:
    return world.fingerprints(*CONTEXTS[where])


# --- the table


@pytest.mark.parametrize(("dataset", "change", "name", "cell"), SOURCES)
def test_source(
    world: Layouts, dataset: str, change: Callable[[Path], None], name: str, cell: str
) -> None:
    before = world.fingerprints(dataset)
    change(world.root / "data" / name)
    assert differing(before, world.fingerprints(dataset)) == cell


ALTERED = [row for row in SOURCES if isinstance(row, tuple) and row[1] is alter]


@pytest.mark.parametrize(("dataset", "_", "name", "cell"), ALTERED)
def test_source_with_its_time_set_back(
    world: Layouts, dataset: str, _: object, name: str, cell: str
) -> None:
    before = world.fingerprints(dataset)
    alter_and_set_clock_back(world.root / "data" / name)
    assert differing(before, world.fingerprints(dataset)) == cell


def test_hidden_picture_of_a_post_is_refused_or_counts(world: Layouts) -> None:
    (world.root / "data/own/posts.jsonl").write_text(
        '{"id": 1, "split": "train", "text": "Ada", "picture": ".hidden"}\n'
    )
    try:
        corpus.read(corpus.locate("own", world.root / "data"))
    except corpus.DataError:
        return
    before = world.fingerprints()
    alter(world.root / "data/own/pictures/.hidden")
    assert differing(before, world.fingerprints()) == "..GXVTN.EPHSWB.C1LKAD"


def test_picture_does_not_count_for_a_model_of_words(world: Layouts) -> None:
    model = {
        "Evaluate.model": "FILES/words",
        "Predict.model": "FILES/entities-of-text",
        "ShowPredictions.model": "FILES/entities-of-text",
        **{f"{name}.variants": "text-only" for name in ("Table1", "LowResource", "Cases")},
    }
    before = world.fingerprints("own", model)
    alter(world.root / "data/own/pictures/a.jpg")
    assert differing(before, world.fingerprints("own", model)) == "..GXVTN....SWB.C..KA."


@pytest.mark.parametrize("where", ["texts", "objects"])
def test_picture_counts_only_for_a_describer_that_looks_at_it(world: Layouts, where: str) -> None:
    dataset, given = CONTEXTS[where]
    before = world.fingerprints(dataset, given)
    alter(world.root / "data/own/pictures/a.jpg")
    cell = "..GXVTN.EPHSWB.C1LKAD" if where == "objects" else "..GX.TN.EPHSWB.C1LKAD"
    assert differing(before, world.fingerprints(dataset, given)) == cell


def test_a_newer_reader_of_text_reads_again(
    still: Layouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = still.fingerprints(*CONTEXTS["ocr"])
    monkeypatch.setattr("pipeline.description.tasks.engine_version", lambda: "rapidocr 99")
    assert differing(before, still.fingerprints(*CONTEXTS["ocr"])) == "....V................"


@pytest.mark.parametrize(("where", "parameter", "value", "cell"), PARAMETERS)
def test_parameter(still: Layouts, where: str, parameter: str, value: str, cell: str) -> None:
    assert stale(still, where, {parameter: value}) == cell


@pytest.mark.parametrize(("where", "parameter", "value", "cell"), TRAINING)
def test_training_parameter(
    still: Layouts, where: str, parameter: str, value: str, cell: str
) -> None:
    trainings = [
        task for task in ("TrainRE", "TrainNER") if hasattr(getattr(tasks, task), parameter)
    ]
    options = {f"{task}.{parameter}": value for task in trainings}
    assert stale(still, where, options) == cell


@pytest.mark.parametrize(
    ("task", "cell"), [("TrainRE", ".....T.O........1LKAD"), ("TrainNER", "......N.........1LKAD")]
)
def test_parameter_of_one_training_task(still: Layouts, task: str, cell: str) -> None:
    assert stale(still, "own", {f"{task}.learning_rate": "0.5"}) == cell


def test_every_parameter_has_a_row_that_shows_whether_it_is_significant() -> None:
    rows = [getattr(row, "values", row) for row in (*PARAMETERS, *TRAINING)]
    names = [re.sub("^Train(RE|NER)[.]", "", row[1]) for row in rows]
    tried = {*names}
    matter = {name for name, row in zip(names, rows, strict=True) if row[-1] != NOTHING}
    for kind in STAGES:
        for name, parameter in kind.get_params():
            if name not in ("dataset", "datasets"):
                full = (
                    name if kind in (tasks.TrainRE, tasks.TrainNER) else f"{kind.__name__}.{name}"
                )
                assert full in tried
                assert (full in matter) == parameter.significant, full


@pytest.mark.parametrize("where", CONTEXTS)
def test_values_given_as_they_are(still: Layouts, where: str) -> None:
    dataset, given = CONTEXTS[where]
    with still.configured(given):
        values = own_values(dataset)
    # LowResource and CrossTask have recipes of their own: theirs are other values. So are those of
    # HVPNeT, which the experiments train.
    others = ".LK1AD" if where == "pcnn" else ".LK"
    assert {*stale(still, where, values)} <= {*others}


@pytest.mark.parametrize(("stage", "cell"), VERSIONS)
def test_version(still: Layouts, stage: str, cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = still.fingerprints("demo")
    monkeypatch.setattr(getattr(tasks, stage), "VERSION", 99)
    assert differing(before, still.fingerprints("demo")) == cell


def test_version_of_every_stage_is_tried() -> None:
    assert {kind.__name__ for kind in STAGES} == {stage for stage, _ in VERSIONS}


def test_version_of_rows(still: Layouts, monkeypatch: pytest.MonkeyPatch) -> None:
    before = still.fingerprints()
    monkeypatch.setattr("pipeline.extraction.tasks.ROW_VERSION", 99)
    assert differing(before, still.fingerprints()) == "...X.TN.EPH....C1LKAD"


def test_machine_that_does_another_precision_well(
    still: Layouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = still.fingerprints()
    monkeypatch.setattr(PRECISION_IS_CHOSEN_BY, lambda device: "bfloat16")
    assert differing(before, still.fingerprints()) == "...X.TNOEPH....C1LKAD"
    given = {"ExtractPyramid.precision": "float32", "TrainRE.precision": "float32"}
    assert differing(before, still.fingerprints(options=given)) == "......N.........1LKAD"


def test_an_experiment_reads_all_its_data_sets(world: Layouts) -> None:
    def fingerprint(*datasets: str) -> str:
        with world.configured({}):
            return tasks.Table1(datasets=datasets).fingerprint

    both, alone = fingerprint("own", "labelled"), fingerprint("own")
    assert both != alone
    alter(world.root / "data/labelled/texts/test/test.json")
    assert fingerprint("own", "labelled") != both
    assert fingerprint("own") == alone


# --- files that options name


def naming(where: str, option: str, name: str) -> tuple[str, dict[str, str]]:
    """The data set and the options of a context, with one that names a file or folder."""
    dataset, given = CONTEXTS[where]
    return dataset, given | {option: f"FILES/{name}"}


@pytest.mark.parametrize("change", [alter, alter_and_set_clock_back])
@pytest.mark.parametrize(("where", "option", "name", "cell"), READ)
def test_other_bytes(
    world: Layouts, where: str, option: str, name: str, cell: str, change: Callable[[Path], None]
) -> None:
    dataset, given = naming(where, option, name.split("/")[0])
    before = world.fingerprints(dataset, given)
    change(world.root / "files" / name)
    assert differing(before, world.fingerprints(dataset, given)) == cell


@pytest.mark.parametrize(("where", "option", "name", "cell"), READ)
def test_same_bytes_elsewhere_by_another_name(
    world: Layouts, where: str, option: str, name: str, cell: str
) -> None:
    named = name.split("/")[0]
    dataset, given = naming(where, option, named)
    before = world.fingerprints(dataset, given)
    (world.root / "files/elsewhere").mkdir()
    (world.root / "files" / named).rename(world.root / "files/elsewhere" / f"my-{named}")
    _, moved = naming(where, option, f"elsewhere/my-{named}")
    assert differing(before, world.fingerprints(dataset, moved)) == NOTHING


def test_name_of_a_checkpoint_that_tells_of_other_anchors(world: Layouts) -> None:
    before = world.fingerprints("own", FAOA)
    (world.root / "files/lstm_flickr_model.pth.tar").rename(world.root / "files/unc.pth.tar")
    renamed = FAOA | {"GroundCrops.weights": "FILES/unc.pth.tar"}
    assert differing(before, world.fingerprints("own", renamed)) == "..GX.TN.EPHSWB.C1LKAD"


# --- what is on the machine


@pytest.mark.parametrize(
    ("where", "cell"),
    [
        ("detector", "..GX.TN.EPHSWB.C1LKAD"),
        ("own", NOTHING),
        ("mnre", NOTHING),
        ("salience", NOTHING),
        ("none", NOTHING),
    ],
)
def test_another_parser_of_phrases(
    still: Layouts, where: str, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, given = CONTEXTS[where]
    before = still.fingerprints(dataset, given)
    monkeypatch.setattr("pipeline.grounding.noun_phrases.parser_version", parser("4.0"))
    assert differing(before, still.fingerprints(dataset, given)) == cell


@pytest.mark.parametrize(
    ("where", "cell"), [("own", "..GX.TN.EPHSWB.C1LKAD"), ("mnre", NOTHING), ("demo", NOTHING)]
)
def test_detector_that_auto_finds_from_now_on(
    still: Layouts, where: str, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, given = CONTEXTS[where]
    before = still.fingerprints(dataset, given)
    monkeypatch.setattr("features.grounding.hub.is_cached", lambda name: True)
    assert differing(before, still.fingerprints(dataset, given)) == cell


# --- where and when: nothing of it counts


PLACES = [
    *(touch, set_clock_forward, set_clock_back, replace_all_by_copies),
    *(move, link, name_relatively, work_elsewhere),
    use_another_store,
]


@pytest.mark.parametrize("change", PLACES)
@pytest.mark.parametrize("where", ["own", "labelled", "mnre", "twitter", "faoa"])
def test_place_and_time(
    world: Layouts,
    where: str,
    change: Callable[[Layouts, pytest.MonkeyPatch], Layouts],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset, given = CONTEXTS.get(where, (where, {}))
    given = given | {
        "TrainRE.encoder": "FILES/encoder",
        "ExtractPyramid.weights": "FILES/resnet.pth",
    }
    before = world.fingerprints(dataset, given)
    assert differing(before, change(world, monkeypatch).fingerprints(dataset, given)) == NOTHING


# --- what must run does, and nothing else: Luigi decides, the work is left out


@pytest.fixture(scope="module")
def made(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    """A world whose store holds what the stages of two data sets made."""
    root = tmp_path_factory.mktemp("made")
    world = write_layouts(root)
    world = Layouts(root, str(root / "store"))
    for dataset in ("own", "demo"):
        with world.configured({}):
            make([columns(dataset)[letter] for letter in "TNV"])
    return world


RATE = {"TrainRE.learning_rate": "0.5"}
# fmt: off
RUNS = [
    # data set, what happens to which output, what is asked for, options, what runs
    ("own", touch_result, "GroundCrops",    "T", {}, []),
    ("own", touch_result, "GroundCrops",    "T", RATE, ["TrainRE"]),
    ("own", alter_result, "TrainRE",        "N", {}, []),
    ("own", alter_result, "ReadPosts",      "R", {}, ["ReadPosts"]),
    ("own", alter_result, "GroundCrops",    "G", {}, ["GroundCrops"]),
    ("own", lose_result, "ExtractPyramid",  "X", {}, ["ExtractPyramid"]),
    ("own", lose_manifest, "ExtractPyramid", "X", {}, ["ExtractPyramid"]),
    ("own", alter_result, "ExtractPyramid", "T", {}, []),  # nothing that is asked for is missing
    ("own", alter_result, "ExtractPyramid", "T", RATE, ["ExtractPyramid", "TrainRE"]),
    ("own", drop, "ExtractPyramid",         "O", RATE, ["TrainRE"]),  # words only
    ("own", drop, "ReadPosts",              "T", RATE, ["ReadPosts", "TrainRE"]),
    ("own", drop, "GroundCrops",            "T", RATE, ["GroundCrops", "TrainRE"]),
    ("demo", drop, "MakeDemo", "G", {"GroundCrops.max_crops": "2"}, ["MakeDemo", "GroundCrops"]),
    ("demo", alter_result, "MakeDemo", "X", {"ExtractPyramid.grid": "3"},
     ["MakeDemo", "ExtractPyramid"]),
]
# fmt: on


@pytest.mark.parametrize(("dataset", "change", "stage", "asked", "options", "ran"), RUNS)
def test_what_runs(
    made: Layouts,
    tmp_path: Path,
    dataset: str,
    change: Callable[[Path], None],
    stage: str,
    asked: str,
    options: dict[str, str],
    ran: list[str],
) -> None:
    world = copy_of(made, tmp_path)  # nothing runs because of that
    change(output(world, stage, dataset))
    with world.configured(options):
        assert make([columns(dataset)[asked]]) == ran


def test_source_altered_while_a_stage_reads_it(
    made: Layouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = copy_of(made, tmp_path)
    posts = world.root / "data/bare/posts.jsonl"
    with world.configured({}):
        stage = tasks.ReadPosts(dataset="bare")
        monkeypatch.setattr(tasks.ReadPosts, "work", lambda *_: alter(posts))
        with suppress(ValueError):
            stage.run()
    posts.write_bytes(posts.read_bytes().removesuffix(b"!"))
    with world.configured({}):
        assert not tasks.ReadPosts(dataset="bare").complete()


# --- Status says why


WORD = "sha256 [0-9a-f]{16}"
# fmt: off
WHY = [
    # what changes: an option, or a file of the data; a line of Status
    ({}, None, "TrainRE is fresh: .*"),
    (RATE, None, "TrainRE is stale: learning_rate 1e-05 → 0.5"),
    (RATE, None, "TrainNER is fresh: .*"),
    (RATE | {"TrainRE.seed": "7"}, None,
     "TrainRE is stale: learning_rate 1e-05 → 0.5; seed 1234 → 7"),
    ({"GroundCrops.max_crops": "2"}, None, "GroundCrops is stale: max_crops 3 → 2"),
    ({"GroundCrops.max_crops": "2"}, None, "ExtractPyramid is stale: GroundCrops changed"),
    ({"GroundCrops.max_crops": "2"}, None, "TrainNER is stale: ExtractPyramid changed"),
    ({"ExtractPyramid.weights": "FILES/resnet.pth"}, None,
     f"ExtractPyramid is stale: weights IMAGENET1K_V1 → from disk; weights is new \\({WORD}\\)"),
    ({"TrainRE.seeds": "1,2"}, None, "TrainRE is stale: never made"),
    ({}, (alter, "own/posts.jsonl"), f"ReadPosts is stale: own/posts.jsonl {WORD} → {WORD}"),
    ({}, (alter, "own/posts.jsonl"), "TrainRE is stale: ExtractPyramid changed; ReadPosts changed"),
    ({}, (add, "own/pictures/c.jpg"),
     f"GroundCrops is stale: own/pictures 2 files, {WORD} → 3 files, {WORD}"),
    ({}, (remove, "own/posts.jsonl"), "ReadPosts is stale: no texts of own: .*"),
]
# fmt: on


@pytest.mark.parametrize(("options", "change", "line"), WHY)
def test_status_says_why(
    made: Layouts,
    tmp_path: Path,
    options: dict[str, str],
    change: tuple[Callable[[Path], None], str] | None,
    line: str,
) -> None:
    world = made
    if change is not None:
        world = copy_of(made, tmp_path)
        change[0](world.root / "data" / change[1])
    told = told_of(world, "own", options)
    assert [found for found in told if re.fullmatch(line, found)], told


def told_of(world: Layouts, dataset: str, options: dict[str, str]) -> list[str]:
    with world.configured(options):
        return status(tasks.stages_of(dataset))


def test_a_store_stays_fresh_on_a_machine_that_does_another_precision_well(
    made: Layouts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    world = copy_of(made, tmp_path)
    monkeypatch.setattr(PRECISION_IS_CHOSEN_BY, lambda device: "bfloat16")
    lines = told_of(world, "own", {})
    assert all(" is fresh: " in line for line in lines), lines
    said = [r.getMessage() for r in caplog.records if "float32" in r.getMessage()]
    assert said == [
        f"{stage}: using the existing output in float32; --precision bfloat16, which suits this "
        "device, makes another"
        for stage in ("ExtractPyramid", "TrainRE", "TrainNER")
    ]
    with world.configured({}):
        assert make([columns("own")[letter] for letter in "TN"]) == []
    asked = told_of(world, "own", {"ExtractPyramid.precision": "bfloat16"})
    assert "ExtractPyramid is stale: precision float32 → bfloat16" in asked
    # Where nothing is there, the device decides; where both are, it does too.
    with world.configured(RATE):
        assert make([columns("own")["T"]]) == ["TrainRE"]
        assert columns("own")["T"].config.precision == "bfloat16"
    with world.configured({"TrainRE.precision": "bfloat16"}):
        assert make([columns("own")["T"]]) == ["TrainRE"]
    for best in ("bfloat16", "float32"):
        monkeypatch.setattr(PRECISION_IS_CHOSEN_BY, lambda device, best=best: best)
        with world.configured({}):
            assert columns("own")["T"].config.precision == best
            assert columns("own")["T"].complete()


def test_the_runs_of_a_summary_have_one_precision(
    made: Layouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them is there in the other precision: it must not be taken into this summary."""
    world = copy_of(made, tmp_path)
    monkeypatch.setattr(PRECISION_IS_CHOSEN_BY, lambda device: "bfloat16")
    several = {"TrainRE.seeds": "1234,7"}  # the first is there, in float32
    with world.configured(several):
        summary = columns("own")["T"]
        assert {run.config.precision for run in summary.requires()} == {"bfloat16"}
        assert make([summary]) == ["TrainRE", "TrainRE", "TrainRE"]
    monkeypatch.setattr(PRECISION_IS_CHOSEN_BY, lambda device: "float32")
    with world.configured(several):
        assert columns("own")["T"].complete()


def test_status_of_what_was_never_made(made: Layouts) -> None:
    told = told_of(made, "labelled", {})
    assert told == [f"{line.split()[0]} is stale: never made" for line in told]


def test_status_of_a_raised_version(made: Layouts, monkeypatch: pytest.MonkeyPatch) -> None:
    version = tasks.TrainNER.VERSION
    monkeypatch.setattr(tasks.TrainNER, "VERSION", 99)
    assert told_of(made, "own", {})[-1] == f"TrainNER is stale: version {version} → 99"


def test_status_of_a_damaged_output(made: Layouts, tmp_path: Path) -> None:
    world = copy_of(made, tmp_path)
    alter_result(output(world, "ExtractPyramid", "own"))
    assert "ExtractPyramid is stale: result was altered" in told_of(world, "own", {})


def test_status_of_a_file_that_is_gone_and_there_again(made: Layouts, tmp_path: Path) -> None:
    world = copy_of(made, tmp_path)
    relations = world.root / "data/RE_data/txt/ours_rel2id.json"
    with world.configured({}):
        make([tasks.ReadPosts(dataset="mnre")])
    content = relations.read_bytes()
    relations.unlink()
    named = "RE_data/txt/ours_rel2id.json"
    gone = told_of(world, "mnre", {})[0]
    assert re.fullmatch(rf"ReadPosts is stale: {named} is gone \(was {WORD}\)", gone)
    drop(output(world, "ReadPosts", "mnre"))
    with world.configured({}):
        make([tasks.ReadPosts(dataset="mnre")])
    relations.write_bytes(content)
    new = told_of(world, "mnre", {})[0]
    assert re.fullmatch(rf"ReadPosts is stale: {named} is new \({WORD}\)", new)


def test_status_compares_with_the_run_that_differs_least(made: Layouts, tmp_path: Path) -> None:
    world = copy_of(made, tmp_path)
    with world.configured({}):
        make([tasks.TrainRE(dataset="own", variant="text-only", seed=7)])
    for file in (world.root / "store/TrainRE").glob("own-*/manifest.json"):
        if "text-only" in (text := file.read_text()):
            file.write_text(re.sub(r'"made": "\d+', '"made": "2999', text))
    told = told_of(world, "own", RATE)
    assert "TrainRE is stale: learning_rate 1e-05 → 0.5" in told


# --- through the real command line


MADE = ("ReadPosts", "GroundCrops", "WriteCrops")


@dataclass
class Typed:
    """A data set of people's own, its store, and the folder in which people type."""

    root: Path
    cwd: Path = HOME

    def run(self, *options: str) -> list[str]:
        """Ask for WriteCrops; the stages that made an output."""
        before = self.counts()
        data, store = self.root / "data", self.root / "store"
        done = luigi(
            "WriteCrops", "--dataset", "own", *options, data=data, store=store, cwd=self.cwd
        )
        assert done.returncode == 0, done.stderr
        return [name for name, n in self.counts().items() for _ in range(n - before[name])]

    def counts(self) -> dict[str, int]:
        return {name: len(outputs(self.root / "store", name)) for name in MADE}


GIVEN = ("--GroundCrops-max-crops", "2", "--GroundCrops-phrases", "none")


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Typed:
    root = tmp_path_factory.mktemp("typed")
    write_own_data(root / "data", posts=(2, 1, 1))
    typed = Typed(root)
    assert typed.run(*GIVEN) == list(MADE)
    return typed


def test_moved_aged_and_configured_by_file_nothing_runs(typed: Typed, tmp_path: Path) -> None:
    for folder in ("data", "store"):
        shutil.copytree(typed.root / folder, tmp_path / folder)
    for path in tmp_path.rglob("*"):
        os.utime(path, (5e9, 5e9))
    (tmp_path / "luigi.cfg").write_text("[GroundCrops]\nmax_crops = 2\nphrases = none\n")
    assert Typed(tmp_path, cwd=tmp_path).run() == []


def test_altered_picture_of_the_same_size_and_age_is_seen(typed: Typed) -> None:
    alter_and_set_clock_back(min((typed.root / "data/own/pictures").iterdir()))
    assert typed.run(*GIVEN) == ["GroundCrops", "WriteCrops"]
