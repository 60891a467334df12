"""Which clips show the same: within a source, then across all sources (paper section 4, stage 2). Next: `ledger.py`.

Of a pair the shorter goes. Clips are taken in order of length, so a clip goes only for one that stays: of many copies
the longest is left. With equal lengths, to a tenth of a second, one from a sound source stays before one from a
damaged one, then the larger picture, then the first by path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from videosyn.curation.config import CurationConfig
from videosyn.curation.records import Clip, Source
from videosyn.curation.scan import Scan
from videosyn.curation.stages import Resources, rejected
from videosyn.curation.work import Work

if TYPE_CHECKING:
    from videosyn.curation.alignment import Track
    from videosyn.curation.clip_features import ClipFeatures


class Dedup:
    """A GroupStage over all clips. A clip that goes has the label `duplicate_of` and a score: `overlap`, the share of
    it found in the other by hashes, or `cosine`, of CLIP features.
    """

    name = "dedup"
    version = "1"

    def __init__(self, config: CurationConfig) -> None:
        self.config = config.dedup
        self.device = config.device
        self._features: ClipFeatures | None = None

    @property
    def resources(self) -> Resources:
        """With CLIP weights: an hour, for the features of all clips of a long source. They are kept when it is over."""
        if self.config.clip_model:
            return Resources(cpus=1.0, memory_bytes=4_000_000_000, gpu=True, time_limit_s=3600.0)
        return Resources(cpus=1.0, memory_bytes=2_000_000_000, time_limit_s=3600.0)

    def setup(self) -> None:
        """Loads CLIP where weights are given; UserError where they are not to be had."""
        if self.config.clip_model:
            from videosyn.curation.clip_features import ClipFeatures

            self._features = ClipFeatures(self.config.clip_model, self.device)

    def process_group(self, clips: Sequence[Clip], work: Work) -> list[Clip]:
        """The same clips in the same order, those rejected that repeat another. Clips rejected before are not seen."""
        living = [place for place, clip in enumerate(clips) if not clip.rejected_by]
        sources = {source: work.source(source) for source in sorted({clips[place].source for place in living})}
        living.sort(key=lambda place: precedence(clips[place], sources[clips[place].source]))
        ordered = [clips[place] for place in living]
        changed = list(clips)
        for number, duplicate in self._repeats(ordered, sources, work).items():
            changed[living[number]] = duplicate
        return changed

    def _repeats(self, clips: Sequence[Clip], sources: dict[str, Source], work: Work) -> dict[int, Clip]:
        """Position among the ordered clips -> the clip, rejected."""
        if self._features is None:
            from videosyn.curation.alignment import repeats

            least = self.config.min_overlap
            found = repeats(tracks_of(clips, sources, work), self.config.max_hash_distance, least)
            return {
                number: self._reject(clips[number], clips[match.first], "overlap", match.overlap, "min_overlap", least)
                for number, match in found.items()
            }
        from videosyn.curation.clip_features import repeats as similar

        most = self.config.max_cosine
        vectors = self._features.of_clips(clips, work)
        return {
            number: self._reject(clips[number], clips[first], "cosine", cosine, "max_cosine", most)
            for number, (first, cosine) in similar(vectors, most, self._features.device).items()
        }

    def _reject(self, clip: Clip, other: Clip, score: str, value: float, rule: str, limit: float) -> Clip:
        value = round(value, 4)
        clip = replace(clip, scores={**clip.scores, score: value}, labels={**clip.labels, "duplicate_of": other.id})
        reason = f"shows the same as {other.id}: {score} {value:.2f}, dedup.{rule} {limit:g}"
        return rejected(clip, self.name, reason)


class SourceDedup(Dedup):
    """The same among the clips of one source, before anything dear is done to them."""

    name = "source_dedup"


def precedence(clip: Clip, source: Source) -> tuple[float, bool, int, str, str, int, int]:
    """Sorts clips so that of any two that show the same the one that stays comes first."""
    pixels = source.width_px * source.height_px
    damaged = "source_warning" in clip.labels
    place = (source.path, clip.source, clip.start_frame, clip.end_frame)
    return (-round(clip.duration_s, 1), damaged, -pixels, *place)


def tracks_of(clips: Sequence[Clip], sources: dict[str, Source], work: Work) -> list[Track]:
    """The clips' tracks, in their order; each source's scan is read once and then forgotten."""
    from videosyn.curation.alignment import Track

    places: dict[str, list[int]] = {}
    for place, clip in enumerate(clips):
        places.setdefault(clip.source, []).append(place)
    tracks: dict[int, Track] = {}
    for source_id, of_source in places.items():
        scan = Scan.load(work, sources[source_id])
        for place in of_source:
            frames = slice(clips[place].start_frame, clips[place].end_frame)
            tracks[place] = Track.of(scan.time_s[frames], scan.hash[frames], scan.luma_std[frames])
    return [tracks[place] for place in range(len(clips))]
