"""Tiny random image-text-to-text models with tokenizers, saved as ordinary model folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = (
    "what bird is this answer please red blue grey warbler tern gull puffin small large a the USER ASSISTANT : . ? _"
)
CHAT = (
    "{% for message in messages %}{{ message['role'] }} : {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE {% else %}{{ part['text'] }}{% endif %}{% endfor %} </s> {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT : {% endif %}"
)


def tokenizer(extra: list[str]) -> Any:
    words = ["<unk>", "<pad>", "<s>", "</s>", *extra, *WORDS.split(), "user", "system", "Finch"]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=extra,
    )


def _text(vocabulary: int, **more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return {
        **sizes,
        "num_key_value_heads": 2,
        "vocab_size": vocabulary,
        "max_position_embeddings": 2048,
        "pad_token_id": 1,
        "bos_token_id": 2,
        "eos_token_id": 3,
        **more,
    }


def _save(folder: Path, model: Any, processor: Any, stock: str | None = None) -> Path:
    # Large random weights, so that different pictures and options get clearly different scores.
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight.data, std=0.25, generator=generator)
        elif "norm" not in name and "ln_q" not in name:  # Qwen-VL's name for one: without it no picture is seen
            torch.nn.init.zeros_(weight.data)
    model.generation_config.eos_token_id = 3
    model.generation_config.pad_token_id = 1
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if stock:
        for path in folder.glob("*.json"):
            path.write_text(path.read_text().replace(type(processor).__name__, stock))
    return folder


def llava(folder: Path, *, width: int = 32) -> Path:
    """``width`` of both towers; 64 and more where weights are to be quantised."""
    words = tokenizer(["<image>"])
    sizes = {} if width == 32 else {"hidden_size": width, "intermediate_size": 2 * width}
    vision = tf.CLIPVisionConfig(
        **{"hidden_size": 32, "intermediate_size": 48, **sizes},
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    config = tf.LlavaConfig(
        vision_config=vision,
        text_config=tf.LlamaConfig(**_text(len(words), **sizes)),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
    )
    pictures = tf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = tf.LlavaProcessor(
        pictures, words, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    return _save(folder, tf.LlavaForConditionalGeneration(config), processor)


def qwen(folder: Path, kind: str = "qwen2_vl") -> Path:
    from fgvr.mllm.image_only_processor import _image_only_class

    special = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    words = tokenizer(special)
    ids = dict(
        zip(
            ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"),
            words.convert_tokens_to_ids(special),
            strict=True,
        )
    )
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    text = _text(len(words), rope_parameters=rope)
    if kind == "qwen2_vl":
        vision = {"depth": 2, "embed_dim": 32, "num_heads": 4, "hidden_size": 32, "patch_size": 8, "mlp_ratio": 2}
        config, model = (
            tf.Qwen2VLConfig(text_config=text, vision_config=vision, **ids),
            tf.Qwen2VLForConditionalGeneration,
        )
    elif kind == "qwen2_5_vl":
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "out_hidden_size": 32,
            "patch_size": 8,
            "window_size": 32,
            "fullatt_block_indexes": [1],
        }
        config = tf.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
        model = tf.Qwen2_5_VLForConditionalGeneration
    else:
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "out_hidden_size": 32,
            "patch_size": 8,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        }
        text |= {"head_dim": 8, "rope_parameters": {**rope, "mrope_interleaved": True}}
        config, model = (
            tf.Qwen3VLConfig(text_config=text, vision_config=vision, **ids),
            tf.Qwen3VLForConditionalGeneration,
        )
    pictures = tf.Qwen2VLImageProcessorPil(patch_size=8, min_pixels=16 * 16, max_pixels=48 * 48)
    template = CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    cls = _image_only_class(kind)
    processor = cls(image_processor=pictures, tokenizer=words, chat_template=template)
    return _save(folder, model(config), processor, stock=cls.__name__.removeprefix("ImageOnly"))


_IDEFICS_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}


def idefics2(folder: Path) -> Path:
    words = tokenizer(["<image>", "<fake_token_around_image>", "<end_of_utterance>"])
    perceiver = {
        "hidden_size": 32,
        "resampler_n_latents": 4,
        "resampler_depth": 1,
        "resampler_n_heads": 4,
        "resampler_head_dim": 8,
        "num_key_value_heads": 2,
    }
    config = tf.Idefics2Config(
        image_token_id=words.convert_tokens_to_ids("<image>"),
        vision_config=_IDEFICS_VISION,
        perceiver_config=perceiver,
        text_config={"model_type": "mistral", **_text(len(words), head_dim=8)},
    )
    pictures = tf.Idefics2ImageProcessorPil(size={"longest_edge": 32, "shortest_edge": 16}, do_image_splitting=False)
    processor = tf.Idefics2Processor(pictures, words, image_seq_len=4, chat_template=CHAT.replace("IMAGE", "<image>"))
    return _save(folder, tf.Idefics2ForConditionalGeneration(config), processor)


_SPLIT = [
    "<image>",
    "<fake_token_around_image>",
    "<end_of_utterance>",
    "<global-img>",
    *[f"<row_{r}_col_{c}>" for r in range(1, 3) for c in range(1, 3)],
]


def idefics3(folder: Path) -> Path:
    words = tokenizer(_SPLIT)
    config = tf.Idefics3Config(
        image_token_id=words.convert_tokens_to_ids("<image>"),
        vision_config=_IDEFICS_VISION,
        scale_factor=2,
        text_config={"model_type": "llama", **_text(len(words))},
        pad_token_id=1,
    )
    pictures = tf.Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 32})
    processor = tf.Idefics3Processor(pictures, words, image_seq_len=4, chat_template=CHAT.replace("IMAGE", "<image>"))
    return _save(folder, tf.Idefics3ForConditionalGeneration(config), processor)


def smolvlm(folder: Path) -> Path:
    from fgvr.mllm.image_only_processor import _image_only_class

    words = tokenizer(_SPLIT)
    config = tf.SmolVLMConfig(
        image_token_id=words.convert_tokens_to_ids("<image>"),
        vision_config=_IDEFICS_VISION,
        scale_factor=2,
        text_config={"model_type": "llama", **_text(len(words))},
        pad_token_id=1,
    )
    pictures = tf.SmolVLMImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 32})
    cls = _image_only_class("smolvlm")
    processor = cls(
        image_processor=pictures, tokenizer=words, image_seq_len=4, chat_template=CHAT.replace("IMAGE", "<image>")
    )
    return _save(folder, tf.SmolVLMForConditionalGeneration(config), processor, stock="SmolVLMProcessor")


def noise_pictures(folder: Path) -> list[Path]:
    """Three pictures of noise: square, wide, tall."""
    paths = []
    for index, size in enumerate([(40, 40), (48, 24), (24, 48)]):
        noise = np.random.default_rng(index).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        paths.append(folder / f"{index}.png")
        Image.fromarray(noise).save(paths[-1])
    return paths
