"""A small result made by hand, for the tests of what is written from results."""

from __future__ import annotations

from dataclasses import replace

from videosyn.curation.config import CurationConfig, WriteConfig
from videosyn.curation.records import Clip, Frame, Source, clip_id
from videosyn.curation.results import Result, SetAside, Timing
from videosyn.curation.work import Work

STAGES = ("probe", "shots", "clips", "source_dedup", "aesthetics", "motion", "text", "dedup", "captions", "write")


def make_result(work: Work, captions: int = 4, shards: bool = False) -> Result:
    """`captions` kept clips with files in `work`, and one rejected clip each by motion, text and dedup."""
    beach = Source(
        "b" * 16, "/footage/beach.mp4", 9, licence="CC0-1.0", width_px=64, height_px=48, fps=25, num_frames=900
    )
    alps = Source("a" * 16, "/footage/walk.mp4", 9, width_px=48, height_px=64, fps=24, num_frames=900)
    kept = [_kept(work, (beach, alps)[number % 2], number) for number in range(captions)]
    rejected = [
        replace(_clip(work, beach, 8, {"motion": 0.0001}), rejected_by="motion", reason="motion 0.0001 is below 0.002"),
        replace(_clip(work, alps, 9, {"text_area": 40000.0}), rejected_by="text", reason="text of 40,000 pixels <b>"),
        replace(_clip(work, alps, 6, {}), rejected_by="dedup", reason=f"shows the same as {kept[0].id}"),
    ]
    rejected[2].labels["duplicate_of"] = kept[0].id
    return Result(
        sources=(beach, alps),
        clips=tuple(sorted([*kept, *rejected], key=lambda clip: (clip.source, clip.start_frame))),
        set_aside=(SetAside("/footage/broken.mp4", "probe", "/footage/broken.mp4", "not a video", 3),),
        timings=tuple(Timing(stage, 10, 0.5 * (place + 1)) for place, stage in enumerate(STAGES)),
        versions=dict.fromkeys(STAGES, "1"),
        config=CurationConfig(write=WriteConfig(shards=shards)),
    )


def _clip(work: Work, source: Source, place: int, scores: dict[str, float]) -> Clip:
    start, end = place * 90, place * 90 + 75
    frame = Frame(start + 30, (start + 30) / source.fps, f"frames/{source.id}/{start:06d}.jpg")
    work.write(frame.file, _picture(place))
    return Clip(
        clip_id(source.id, start, end), source.id, start, end, start / source.fps, end / source.fps, (frame,), scores
    )


def _kept(work: Work, source: Source, place: int) -> Clip:
    clip = _clip(work, source, place, {"motion": 0.02 * (place + 1), "aesthetic": 4.6 + place / 10})
    name = f"clips/{clip.id}.mp4"
    work.write(name, f"film {place}".encode())
    facts = {"width_px": 64.0, "height_px": 48.0, "fps": 25.0, "bytes": 6.0}
    labels = {"file_name": name, "written": "copy", "captioner": "sidecar"}
    caption = f"A dog runs along the beach under number {place} of the palm trees, and a woman walks behind it."
    return replace(clip, scores={**clip.scores, **facts}, labels=labels, caption=caption)


def _picture(place: int) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (320, 180), (place * 25, 90, 200 - place * 15)).save(buffer, "JPEG")
    return buffer.getvalue()
