"""Random models of a few kilobytes, saved as transformers saves them."""

from __future__ import annotations

from pathlib import Path

import torch

SIZE_PX = 32


def tiny_clip(folder: Path, whole: bool = True) -> str:
    """A CLIP with features of 24; `whole`: with its text half, as it is published."""
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = CLIPVisionConfig(image_size=SIZE_PX, patch_size=8, projection_dim=24, **small)
    text = CLIPTextConfig(vocab_size=20, max_position_embeddings=8, projection_dim=24, **small)
    if whole:
        config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24)
        CLIPModel(config).save_pretrained(folder)
    else:
        CLIPVisionModelWithProjection(vision).save_pretrained(folder)
    return str(folder)


def tiny_llava(folder: Path) -> str:
    """A LLaVA of two layers that answers nonsense from a dozen words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    words = "<unk> <s> </s> <pad> <image> a dog runs on the beach Describe this clip".split()
    raw = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
    template = (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
        "{% endfor %}{% endfor %}"
    )
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": SIZE_PX}, crop_size={"height": SIZE_PX, "width": SIZE_PX}
        ),
        tokenizer=tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
        image_token="<image>",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    vision = CLIPVisionConfig(image_size=SIZE_PX, patch_size=16, num_hidden_layers=2, projection_dim=16, **small)
    text = LlamaConfig(vocab_size=len(words), num_hidden_layers=1, max_position_embeddings=256, **small)
    config = LlavaConfig(vision_config=vision.to_dict(), text_config=text.to_dict(), image_token_index=4)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)
