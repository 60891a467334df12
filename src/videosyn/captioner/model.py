"""The captioner: frames -> tokens -> a memory of fixed size -> a caption. Paper section 4.6. Next: `storage.py`.

pictures (B, T, 3, H, W)
  -> vision encoder, each frame by itself     (B T, N, D')
  -> Perceiver-Resampler                      (B, T, R, D)
  -> Token Turing Machine, frame by frame     (B, M, D)
  -> language model: [memory, prompt, caption]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videosyn.captioner.config import CaptionerConfig
from videosyn.captioner.frames import to_pictures
from videosyn.captioner.memory import TokenTuringMachine
from videosyn.captioner.resampler import PerceiverResampler
from videosyn.captioner.vision import NUM_FREQUENCIES, ConvVisionEncoder, TransformersVision, make_vision, waves

IGNORED = -100
"""Label of what the loss does not count."""


class Captioner(nn.Module):
    """Vision encoder and language model are transformers' (or nano's own encoder); what joins them is ours."""

    vision: ConvVisionEncoder | TransformersVision

    def __init__(self, config: CaptionerConfig, tokenizer: Any) -> None:
        """tokenizer: transformers' fast tokenizer of the language model, with an end token."""
        super().__init__()
        from transformers import AutoConfig, AutoModelForCausalLM

        self.config, self.tokenizer = config, tokenizer
        language = {key: value for key, value in config.language.items() if key != "model_type"}
        self.vision = make_vision(config.vision)
        self.resampler = PerceiverResampler(
            self.vision.width,
            config.width,
            config.frame_tokens,
            config.resampler_depth,
            config.num_heads,  # pyright: ignore[reportArgumentType]
        )
        self.times = nn.Linear(2 * NUM_FREQUENCIES, config.width)
        self.memory = TokenTuringMachine(
            config.width,
            config.memory_tokens,
            config.frame_tokens,
            config.read_tokens,
            config.memory_depth,
            config.num_heads,
        )
        model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(config.language["model_type"], **language))
        self.exit = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, model.config.hidden_size))
        self.language = model

    @property
    def weight(self) -> Tensor:
        """One that tells where the captioner is and in what type it computes."""
        return self.times.weight

    def pictures(self, frames: Tensor) -> Tensor:
        """Frames, uint8 (..., H, W, 3) -> (..., 3, H', W') of the weights' type and place."""
        return to_pictures(self.config, frames.to(self.weight.device), self.vision.patch_px, self.weight.dtype)

    def tokens(self, pictures: Tensor, times: Tensor) -> Tensor:
        """Pictures (B, T, 3, H, W), seen at times (B, T) from 0, the clip's begin, to 1 -> (B, T, R, D)."""
        tokens = self.resampler(self.vision(pictures.flatten(0, 1)))
        return tokens.unflatten(0, times.shape) + self.times(waves(times).to(tokens.dtype))[:, :, None]

    def watch(self, pictures: Tensor, times: Tensor, memory: Tensor | None = None) -> Tensor:
        """Goes on from `memory`, or from none, through the next frames -> the memory after them (B, M, D)."""
        memory = self.memory.begin(len(pictures)) if memory is None else memory
        for frame in self.tokens(pictures, times).unbind(1):
            memory = self.memory.step(memory, frame)
        return memory

    def forward(self, pictures: Tensor, times: Tensor, prompts: Sequence[str], captions: Sequence[str]) -> Tensor:
        """The mean negative log-likelihood of each caption's tokens, its end among them (B,), fp32."""
        return self.likelihood(self.watch(pictures, times), prompts, captions)

    def likelihood(self, memory: Tensor, prompts: Sequence[str], captions: Sequence[str]) -> Tensor:
        """The same of memories (B, M, D). Prompts are not counted."""
        end = self.tokenizer.eos_token_id
        asked = [self.prompt_ids(prompt) for prompt in prompts]
        said = [[*self.tokenizer(caption, add_special_tokens=False).input_ids, end] for caption in captions]
        longest = max(len(one) + len(other) for one, other in zip(asked, said))
        device, skipped = memory.device, memory.shape[1]
        tokens = torch.full((len(said), longest), end, device=device)
        labels = torch.full((len(said), longest), IGNORED, device=device)
        for row, (one, other) in enumerate(zip(asked, said)):
            tokens[row, : len(one) + len(other)] = torch.tensor([*one, *other], device=device)
            labels[row, len(one) : len(one) + len(other)] = torch.tensor(other, device=device)
        given = torch.cat([self.exit(memory), self.language.get_input_embeddings()(tokens)], dim=1)
        # Causal, and padded on the right: what is padding is seen by padding alone.
        logits = self.language(inputs_embeds=given, use_cache=False).logits[:, skipped - 1 : -1]  # (B, L, V)
        logits = rearrange(logits.float(), "b l v -> b v l")
        losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")  # (B, L)
        return losses.sum(1) / (labels != IGNORED).sum(1)

    @torch.inference_mode()
    def say(self, memory: Tensor, prompt: str | None = None, max_new_tokens: int | None = None) -> list[str]:
        """Memories (B, M, D) -> a caption each, greedily, so that a clip gets the same one each time."""
        asked = torch.tensor(self.prompt_ids(self.config.prompt if prompt is None else prompt), device=memory.device)
        words = self.language.get_input_embeddings()(asked).expand(len(memory), -1, -1)
        given = torch.cat([self.exit(memory), words], dim=1)
        answer = self.language.generate(
            inputs_embeds=given,
            attention_mask=torch.ones(given.shape[:2], dtype=torch.long, device=memory.device),
            max_new_tokens=max_new_tokens or self.config.max_new_tokens,
            do_sample=False,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        return [" ".join(text.split()) for text in self.tokenizer.batch_decode(answer, skip_special_tokens=True)]

    def prompt_ids(self, prompt: str) -> list[int]:
        """The tokens of a prompt, in the language model's chat template where it has one."""
        if getattr(self.tokenizer, "chat_template", None):
            turn = [{"role": "user", "content": prompt}]
            return list(self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False))
        return list(self.tokenizer(prompt, add_special_tokens=False).input_ids)
