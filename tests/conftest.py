"""What tests of several layers share: a complete pipeline small enough to run in milliseconds."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: more threads only wait; subprocesses inherit it

import pytest
import torch

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background job; subprocesses inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_pipeline():
    """A VideoSynPipeline of the TINY presets with fixed random weights, float32, on the CPU. Do not change it."""
    from videosyn.diffusion.flow import FlowMatching
    from videosyn.sampling.model_index import Defaults, Trained
    from videosyn.sampling.pipeline import VideoSynPipeline
    from videosyn.text.config import NanoTextEncoderConfig
    from videosyn.text.nano import NanoTextEncoder
    from videosyn.text.tokenizer import WordTokenizer
    from videosyn.vdit import presets as vdit_presets
    from videosyn.vdit.model import VDiT
    from videosyn.vidvae import presets as vidvae_presets
    from videosyn.vidvae.model import VidVAE

    torch.manual_seed(0)
    tokenizer = WordTokenizer.from_words("a the red blue ball cube bounces spins on in grass desert".split())
    vdit = VDiT(vdit_presets.TINY)
    text = NanoTextEncoder(
        NanoTextEncoderConfig(len(tokenizer), width=vdit_presets.TINY.text_width, depth=1, num_heads=2), tokenizer
    )
    pipeline = VideoSynPipeline(
        VidVAE(vidvae_presets.TINY),
        vdit,
        text,
        FlowMatching(),
        Defaults(num_frames=5, height=32, width=32, num_steps=2, guidance=3.0, fps=8.0),
        Trained(max_frames=17, max_pixels=96 * 96),
    )
    for model in (pipeline.vdit, pipeline.vae):  # outputs start at zero, which would hide every difference
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.ndim > 1 and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    return pipeline


@pytest.fixture(scope="session")
def tiny_folder(tiny_pipeline, tmp_path_factory):
    """The tiny pipeline, saved. Copy it before changing anything in it."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    tiny_pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def save_t5():
    """save_t5(folder, width) writes a tiny random T5 encoder, and a tokenizer of whole words, as transformers does."""

    def save(folder, width=16):
        from tokenizers import Tokenizer, models, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

        words = ["<pad>", "</s>", "<unk>", "a", "red", "blue", "ball", "bounces"]
        backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
        PreTrainedTokenizerFast(
            tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        ).save_pretrained(folder)
        torch.manual_seed(0)
        config = T5Config(vocab_size=len(words), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
        T5EncoderModel(config).save_pretrained(folder)
        return folder

    return save
