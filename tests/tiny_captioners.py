"""Tiny captioners with random weights, as folders of model and processor."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

WORDS = "a the red big blue old cat dog house man in of with hat photo what is this ? sun".split()
SIDE, PATCH = 32, 8  # of the models' input, pixels
# As LLaVA's: the question follows the picture.
CHAT = (
    "{% for message in messages %}<s> USER : {% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }} {% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT :{% endif %}"
)
_LAYERS = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def write_blip(folder: Path, seed: int = 3) -> Path:
    """A BLIP, which begins by itself or continues a prompt. Returns the folder."""
    signs = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = BertTokenizer(vocab={sign: n for n, sign in enumerate(signs)})
    text = {
        **_LAYERS,
        "vocab_size": len(signs) + 1,
        "encoder_hidden_size": 32,
        "bos_token_id": len(signs),  # [DEC], which the tokenizer of the published BLIP lacks, too
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    vision = {**_LAYERS, "image_size": SIDE, "patch_size": PATCH}
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))
    images = BlipImageProcessor(size={"height": SIDE, "width": SIDE})
    return _write(model, BlipProcessor(images, tokenizer), folder, seed)


def write_git(folder: Path, seed: int = 3) -> Path:
    """A GIT, which begins by itself or continues a prompt. Returns the folder."""
    signs = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = BertTokenizer(vocab={sign: n for n, sign in enumerate(signs)})
    ends = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    vision = {**_LAYERS, "image_size": SIDE, "patch_size": PATCH}
    config = GitConfig(vision_config=vision, vocab_size=len(signs), **_LAYERS, **ends)
    sides = {"height": SIDE, "width": SIDE}
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=sides)
    return _write(GitForCausalLM(config), GitProcessor(images, tokenizer), folder, seed)


def write_llava(folder: Path, seed: int = 3) -> Path:
    """A LLaVA, which is asked. Returns the folder."""
    signs = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "USER", "ASSISTANT", ":", *WORDS]
    words = Tokenizer(models.WordLevel({sign: n for n, sign in enumerate(signs)}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**_LAYERS, image_size=SIDE, patch_size=PATCH),
        text_config=LlamaConfig(
            **_LAYERS,
            vocab_size=len(signs),
            num_key_value_heads=2,
            head_dim=16,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        ),
        image_token_index=4,
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-1,
    )
    size = {"height": SIDE, "width": SIDE}
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=CHAT,
        num_additional_image_tokens=1,
    )
    return _write(LlavaForConditionalGeneration(config), processor, folder, seed)


def _write(model: PreTrainedModel, processor: ProcessorMixin, folder: Path, seed: int) -> Path:
    """Save both, with weights drawn so that the texts of two pictures differ."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(float(norm) + 0.4 * torch.randn(parameter.shape, generator=draw))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
