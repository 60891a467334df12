"""Prompt to mp4 at the paper's size with random weights: seconds and peak memory of each part, on one accelerator.

    python benchmarks/paper_size_film.py                                 # 720p, 113 and 337 frames, 30 guided steps
    python benchmarks/paper_size_film.py --model tiny --size 64x96 --frames 9 --steps 2     # on a CPU, in seconds

Parts (--parts), each of which begins anew from nothing, so that a run can be cut in several:

rate    a large product in the models' type: what the VDiT's share is measured against
text    a T5-XXL of random weights reads a prompt of 120 tokens and an empty one
film    the pipeline itself, from features of that prompt to an mp4: a step, all steps, decoding, the file
memory  the pipeline loaded from a folder in each way of --memory, two steps and decoding: measured and predicted

Results are printed as they come, and kept in --out/film.json, with what earlier runs found there.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any, get_args

import torch
from measuring import KnownFeatures, Measuring
from peak import Peak

from videosyn.core.video_file import write_video
from videosyn.diffusion.flow import FlowMatching
from videosyn.sampling.duration import predicted_duration
from videosyn.sampling.fitting import footprint
from videosyn.sampling.memory_mode import Memory
from videosyn.sampling.model_index import Defaults
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.vdit import presets as vdit_presets
from videosyn.vdit.cost import attention_operations, product_operations
from videosyn.vdit.model import VDiT
from videosyn.vidvae import presets as vae_presets
from videosyn.vidvae.model import VidVAE

T5_XXL = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "vocab_size": 32128}
T5_TINY = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 64}
PROMPT_TOKENS = 120
PARTS = ("rate", "text", "film", "memory")
PROMPT = "a ship in a storm"


class Run(Measuring):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options.out, "film.json", options.device, options.dtype)
        self.options = options
        self.size = tuple(map(int, options.size.split("x")))

    def models(self) -> tuple[VidVAE, VDiT]:
        """On the device, made there: random numbers of a CPU would take minutes."""
        vae, vdit = (vae_presets.XL, vdit_presets.XL) if self.options.model == "xl" else (TINY_VAE, vdit_presets.TINY)
        with torch.device(self.device):
            parts = VidVAE(vae), VDiT(vdit)
        for part in parts:
            part.to(self.dtype).eval().requires_grad_(False)
            for parameter in part.parameters():  # new models have layers of zeros, with which some kernels are faster
                if parameter.ndim > 1 and not parameter.any():
                    parameter.normal_(std=0.02)
        return parts

    def pipeline(self) -> VideoSynPipeline:
        vae, vdit = self.models()
        text: Any = KnownFeatures(vdit.config.text_width, PROMPT_TOKENS, self.device, self.dtype)
        defaults = Defaults(height=self.size[0], width=self.size[1], num_steps=self.options.steps, guidance=6.0)
        pipeline = VideoSynPipeline(vae, vdit, text, FlowMatching(), defaults)
        if self.options.compile:
            pipeline.compile()
        return pipeline

    def text(self) -> None:
        watched = Peak(self.device)
        encoder = self.t5()
        ids = torch.randint(0, encoder.config.vocab_size, (2, PROMPT_TOKENS), device=self.device)
        mask = torch.ones_like(ids)
        mask[1, 1:] = 0
        seconds = [self.seconds(lambda: encoder(input_ids=ids, attention_mask=mask)) for _ in range(2)]
        self.say("text", seconds=seconds[0], again_s=seconds[1], peak_gb=watched.all_bytes / 1e9)

    def t5(self) -> Any:
        from transformers import T5Config, T5EncoderModel

        sizes = T5_XXL if self.options.model == "xl" else T5_TINY
        with torch.device("meta"):
            encoder: Any = T5EncoderModel(T5Config(feed_forward_proj="gated-gelu", **sizes)).to(self.dtype)
        encoder = encoder.to_empty(device=self.device).eval().requires_grad_(False)
        encoder.tie_weights()
        for parameter in encoder.parameters():
            parameter.normal_(std=0.02)
        return encoder

    def film(self) -> None:
        pipeline, options = self.pipeline(), self.options
        pipeline(PROMPT, num_frames=5, height=64, width=64, num_steps=1)  # kernels are chosen, memory is taken
        for num_frames in options.frames:
            name = f"film {num_frames}x{options.size}"
            asked = pipeline.defaults.updated(num_frames=num_frames)
            told = predicted_duration(pipeline, asked)
            times: list[float] = []
            peaks: list[int] = []
            watched = Peak(self.device)
            weights = watched.before

            def step(done: int, total: int, times: list[float] = times, peaks: list[int] = peaks) -> None:
                nonlocal watched
                self.wait()
                times.append(time.perf_counter())
                if done >= total - 1:  # the last step, then the end of decoding
                    peaks.append(watched.all_bytes)
                    watched = Peak(self.device)

            self.wait()
            begin = time.perf_counter()
            output = pipeline(PROMPT, num_frames=num_frames, progress=step)
            steps = times[:-1]
            one = statistics.median(b - a for a, b in zip([begin, *steps], steps))
            path = self.out / f"film-{num_frames}.mp4"
            file_s = self.seconds(lambda: write_video(path, output.frames[0], 8.0 if num_frames < 200 else 24.0))  # noqa: B023
            load = footprint(pipeline).load(1, num_frames, *self.size)
            load = dataclasses.replace(load, text_tokens=PROMPT_TOKENS)
            config = pipeline.vdit.config
            flops = product_operations(config, load) + attention_operations(config, load)
            self.say(
                name,
                weights_gb=weights / 1e9,
                step_s=one,
                denoising_s=steps[-1] - begin,
                decoding_s=times[-1] - steps[-1],
                file_s=file_s,
                total_s=times[-1] - begin + file_s,
                denoising_gb=peaks[0] / 1e9,
                decoding_gb=peaks[1] / 1e9,
                predicted_step_s=told.step_s,
                predicted_decoding_s=told.decoding_s,
                predicted_denoising_gb=footprint(pipeline).denoising_bytes(1, num_frames, *self.size) / 1e9,
                predicted_decoding_gb=footprint(pipeline).decoding_bytes(1, num_frames, *self.size) / 1e9,
                teraflops=flops / one / 1e12,
                **self.share_of_rate(flops / one / 1e12),
            )

    def memory(self) -> None:
        folder = self.out / f"model-{self.options.model}"
        if not (folder / "model_index.json").is_file():
            self.save(folder)
        for way in self.options.ways or get_args(Memory):
            self.one_way(folder, way)

    def one_way(self, folder: Path, way: str) -> None:
        pipeline = VideoSynPipeline.from_pretrained(folder, str(self.device), self.options.dtype, way)
        for words in self.options.memory_sizes:
            num_frames, height, width = map(int, words.split("x"))
            size = {"num_frames": num_frames, "height": height, "width": width, "num_steps": 2}
            watched = Peak(self.device)
            seconds = self.seconds(lambda: pipeline(PROMPT, **size))  # noqa: B023
            working = footprint(pipeline).predicted_bytes(1, num_frames, height, width)
            self.say(
                f"memory {way} {words}",
                seconds=seconds,
                peak_gb=watched.all_bytes / 1e9,
                before_gb=watched.before / 1e9,
                predicted_working_gb=working / 1e9,
            )

    def save(self, folder: Path) -> None:
        """A pipeline of random weights, with a T5 and a tokenizer that knows a few words."""
        from tokenizers import Tokenizer, models, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast

        from videosyn.text.t5 import T5TextEncoder

        words = ["<pad>", "</s>", "<unk>", *PROMPT.split()]
        backend = Tokenizer(
            models.WordLevel({word: i for i, word in enumerate(dict.fromkeys(words))}, unk_token="<unk>")
        )
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
        scratch = self.out / "t5"
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        )
        tokenizer.save_pretrained(scratch)
        self.t5().save_pretrained(scratch)
        vae, vdit = self.models()
        text = T5TextEncoder(scratch, dtype=self.dtype)
        VideoSynPipeline(vae, vdit, text, FlowMatching()).save_pretrained(folder)


TINY_VAE = dataclasses.replace(
    vae_presets.XL, encoder_widths=(8, 8, 16, 16), decoder_widths=(8, 8, 16, 16), norm_groups=4
)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["xl", "tiny"], default="xl")
    parser.add_argument("--size", default="720x1280", help="height x width")
    parser.add_argument("--frames", type=int, nargs="+", default=[113, 337])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["rate", "text", "film"])
    parser.add_argument("--ways", nargs="*", choices=get_args(Memory), help="of the part memory; all by default")
    parser.add_argument("--memory-sizes", nargs="+", default=["113x720x1280", "113x480x848"])
    parser.add_argument("--compile", action="store_true", help="the VDiT's block, with torch.compile")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--out", default="paper_size_film")
    options = parser.parse_args()
    run = Run(options)
    for part in PARTS:
        if part in options.parts:
            getattr(run, part)()
            if run.device.type == "cuda":
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
