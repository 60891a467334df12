from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from videosyn.core.config import load_yaml
from videosyn.core.errors import UserError
from videosyn.dataset.buckets import parse_buckets
from videosyn.dataset.decode import Place
from videosyn.dataset.footage import Footage, FootageClip
from videosyn.dataset.windows import Fitting, fit_windows
from videosyn.training.captioner_options import CaptionerTraining
from videosyn.training.options import DiTTraining, VAETraining

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("name", ["nano_vae", "nano_vae_gpu", "nano_dit", "nano_dit_gpu"])
def test_shipped_configurations_load(name: str):
    cls = VAETraining if "vae" in name else DiTTraining
    options = load_yaml(cls, CONFIGS / f"{name}.yaml")
    assert options.max_minutes > 0
    assert options.preset == ("nano_320" if name == "nano_dit_gpu" else "nano")


@pytest.mark.parametrize("name", ["small_vae", "xl_vae", "small_dit", "xl_dit"])
def test_configurations_of_the_larger_models_load(name: str):
    cls = VAETraining if "vae" in name else DiTTraining
    options = load_yaml(cls, CONFIGS / f"{name}.yaml")
    assert options.data
    if isinstance(options, DiTTraining):
        stages = options.staged()
        assert [Path(stage.out).name for stage in stages] == [stage.name for stage in options.stages]
        assert all(stage.init == f"{before.out}/model" for before, stage in pairwise(stages))
        assert stages[0].init == options.init
        assert stages[0].buckets != stages[1].buckets


@pytest.mark.parametrize("name", ["small_vae", "xl_vae", "small_dit", "xl_dit"])
def test_a_common_clip_fits_the_configurations_for_footage(name: str):
    """1280x720, two seconds and more: in every stage, and for a VidVAE among the early and the late crops."""
    cls = VAETraining if "vae" in name else DiTTraining
    options = load_yaml(cls, CONFIGS / f"{name}.yaml")
    clip = FootageClip("a.mp4", Place("a.mp4"), "a clip", 72, 720, 1280, 24.0)
    if isinstance(options, VAETraining):
        mixes = [(options, options.crops), (options, options.late_crops)]
    else:
        mixes = [(stage, stage.buckets) for stage in options.staged()]
    for run, buckets in mixes:
        fitting = Fitting(run.clip_fps, run.max_windows, run.max_crop)
        windows = fit_windows(Footage("", (clip,), ()), parse_buckets(buckets), fitting)
        assert not windows.unfit, windows.unfit


@pytest.mark.parametrize("name", ["nano_captioner", "xl_captioner"])
def test_configurations_of_the_captioner_load_and_begin_with_images(name: str):
    options = load_yaml(CaptionerTraining, CONFIGS / f"{name}.yaml")
    images, videos = options.staged()
    assert videos.init == f"{images.out}/model"
    assert {bucket.frames for bucket in parse_buckets(images.buckets)} == {1}
    assert max(bucket.frames for bucket in parse_buckets(videos.buckets)) >= 17
    assert (images.frozen, videos.frozen) == (
        ((), ()) if name == "nano_captioner" else (("vision", "language"), ("vision",))
    )
    assert not videos.vision


def test_options_need_no_torch():
    code = (
        "import sys, videosyn.training.options, videosyn.training.captioner_options; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_training_on_the_world_loads_neither_pyav_nor_diffusers_nor_transformers():
    code = (
        "import sys, videosyn.training.dit_run, videosyn.training.vae_run; "
        "sys.exit(bool({'av', 'diffusers', 'transformers', 'pyarrow', 'peft', 'tensorboard'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_minutes: 1\nlearning_rate: 1", "learning_rate"),
        ("out: x", "max_minutes"),
        ("max_minutes: fast", "max_minutes"),
        ("[1, 2]", "fields"),
        ("a: [", "YAML"),
        ("max_steps: 1\ncrops: [17x128x128]", "fits in no clip"),
        ("max_steps: 1\nmuon_steps: 0", "muon_steps"),
        ("max_steps: 1\nema_decay: 2", "ema_decay"),
        ("max_steps: 1\naccumulate: 0", "accumulate"),
        ("max_steps: 1\nadversarial_start: 2", "adversarial_start"),
        ("max_steps: 1\non_broken: ignore", "on_broken"),
        ("max_steps: 1\nparallel: fsdp", "use ddp"),
        ("max_steps: 1\nlate_crops: ['17x64x64:400', '1x64x64:1']", "never be trained: raise its share to 1%"),
    ],
)
def test_a_wrong_file_gets_one_line(tmp_path: Path, text: str, says: str):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says) as caught:
        load_yaml(VAETraining, path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load_yaml(DiTTraining, tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stages: [{name: a, max_steps: 1}, {name: a, max_steps: 1}]", "names of their own"),
        ("stages: [{name: a}]", "a run needs an end"),
        ("stages: [{name: a, max_steps: 1, bucket: [1x8x8]}]", "unknown key 'bucket'"),
        ("max_steps: 1\nlora_rank: 4", "set init"),
        ("init: x\nlora_rank: 4\nstages: [{name: a, max_steps: 1}]", "lora_rank has no stages"),
        ("max_steps: 1\nbuckets: ['17x96x96:400', '1x96x96:1']", "1x96x96 has 0.25% of the batches, none in 100"),
        ("max_steps: 1\ndata: x\nthing_weight: 2", "lessons of the world"),
        ("max_steps: 1\nsequence_parallel: 0", "at least 1, got 0"),
        ("max_steps: 1\nsequence_parallel: 2\ncompile: true", "leave one of them out"),
        ("max_steps: 1\nsequence_parallel: 2\nnaming_weight: 0.1", "reads whole clips"),
        ("max_steps: 1\nparallel: fsdp", "set optimizer adamw"),
        ("max_steps: 1\nparallel: fsdp\noptimizer: adamw\nnaming_weight: 0.1", "use ddp"),
        ("max_steps: 1\nparallel: fsdp\noptimizer: adamw\ninit: x\nlora_rank: 4", "use ddp"),
        ("max_steps: 1\nsheet_steps: -1", "use 0 for no sample sheets"),
        ("max_steps: 1\nprompts: [a ball, '  ']", "prompts must not be empty"),
        ("max_steps: 1\nout: s3://bucket/run", "out must be a folder on a disk here, got s3://bucket/run"),
        ("max_steps: 1\nvae: s3://bucket/vae", "vae must be a folder"),
    ],
)
def test_a_wrong_file_for_a_vdit_gets_one_line(tmp_path: Path, text: str, says: str):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        load_yaml(DiTTraining, path)
