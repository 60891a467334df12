"""How the studio looks. System fonts alone: nothing is fetched from anywhere."""

from __future__ import annotations

from typing import Any

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Liberation Mono", "monospace")

HEAD = '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">'

CSS = """
.gradio-container { max-width: 76rem !important; margin: 0 auto !important; }
.title h1 { font-size: 1.35rem; margin: .2rem 0 0; }
.film { display: grid; gap: .5rem; }
.film video, .film img, .film .blank { width: 100%; max-height: 70vh; aspect-ratio: var(--shape, 1);
  object-fit: contain; background: #0002; border-radius: .5rem; image-rendering: auto; display: block; }
.film .blank { display: grid; place-items: center; color: var(--body-text-color-subdued); }
.film progress { appearance: none; width: 100%; height: .5rem; border: 0; border-radius: .25rem; overflow: hidden;
  background: var(--border-color-primary); }
.film progress::-webkit-progress-bar { background: var(--border-color-primary); }
.film progress::-webkit-progress-value { background: var(--color-accent); }
.film progress::-moz-progress-bar { background: var(--color-accent); }
.film p { margin: 0; font-size: .88rem; color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
.film .problem { color: var(--error-text-color, #b3372f); font-size: 1rem; }
.film .links { display: flex; gap: 1rem; flex-wrap: wrap; }
.film .links a { padding: .3rem .8rem; border: 1px solid var(--border-color-primary); border-radius: .4rem;
  text-decoration: none; }
#gallery .grid-container { grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)) !important; }
#gallery .grid-wrap { max-height: none; min-height: 0; height: auto !important; }
.dataset { --kept: #2a6fb0; --gone: #d9a05b; --mark: #b3372f; --line: var(--border-color-primary);
  --soft: var(--body-text-color-subdued); }
@media (prefers-color-scheme: dark) { .dataset { --kept: #6aaeea; --gone: #b07a3a; --mark: #f0837a; } }
.dataset svg { display: block; width: 100%; height: auto; overflow: visible; }
.dataset svg text { text-anchor: middle; }
.dataset .chart text { fill: var(--soft); font-size: 11px; }
.dataset .chart .left { text-anchor: end; } .dataset .chart .marked { text-anchor: start; fill: var(--mark); }
.dataset .grid { stroke: var(--line); } .dataset .mark { stroke: var(--mark); stroke-dasharray: 4 3; }
.dataset rect.kept { fill: var(--kept); } .dataset rect.gone { fill: var(--gone); }
.dataset .cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: .8rem; }
.dataset figure { margin: 0; border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .8rem; }
.dataset figcaption { font-weight: 600; }
.dataset .key { font-size: .85rem; color: var(--soft); }
.dataset .key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 .8em; }
.dataset i.kept { background: var(--kept); } .dataset i.gone { background: var(--gone); }
.dataset .bars { display: grid; gap: .3rem .8rem; grid-template-columns: max-content 1fr max-content; font-size: .9rem;
  align-items: center; }
.dataset .bar { display: contents; }
.dataset .track { background: var(--line); border-radius: 3px; height: .7rem; overflow: hidden; }
.dataset .track span { display: block; background: var(--gone); height: 100%; }
.dataset .thumbs { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .7rem;
  align-items: start; }
.dataset details { border: 1px solid var(--line); border-radius: .5rem; overflow: hidden; font-size: .8rem; }
.dataset details[open] { grid-column: span 2; }
.dataset summary { cursor: pointer; list-style: none; } .dataset summary::-webkit-details-marker { display: none; }
.dataset summary img, .dataset .blank { display: block; width: 100%; aspect-ratio: 16 / 9; object-fit: contain;
  background: #0002; }
.dataset .blank { display: grid; place-items: center; color: var(--soft); }
.dataset details video { width: 100%; display: block; }
.dataset details[open]:has(video) summary img { display: none; }
.dataset details div { padding: .35rem .5rem; overflow-wrap: anywhere; }
.dataset .why { color: var(--mark); } .dataset .none { color: var(--soft); font-style: italic; }
@media (max-width: 40rem) {
  .gradio-container { padding: .4rem !important; }
  .dataset .bars { grid-template-columns: 1fr max-content; } .dataset .track { grid-column: 1 / -1; grid-row: auto; }
  .dataset details[open] { grid-column: 1 / -1; }
}
"""


def theme() -> Any:
    """Gradio's own look, with fonts that the reader's machine has."""
    from gradio.themes import Default

    return Default(primary_hue="blue", neutral_hue="gray", font=list(SANS), font_mono=list(MONO))
