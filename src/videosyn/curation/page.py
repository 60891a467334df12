"""The frame of the report: one HTML page with its style, readable on a phone, in the dark, and on paper.

Next: `report.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfa; --card: #fff; --ink: #1c1d20; --soft: #63666e; --line: #e2e2dd;
  --kept: #2a6fb0; --gone: #d9a05b; --mark: #b3372f; --w0: #2a6fb0; --w1: #1c1d20; --w2: #8a5a1f; --w3: #4a7a52; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171a; --card: #1d2024; --ink: #e8e8e4; --soft: #a2a6ae;
  --line: #33373d; --kept: #6aaeea; --gone: #b07a3a; --mark: #f0837a; --w0: #6aaeea; --w1: #e8e8e4; --w2: #dcae74;
  --w3: #8fc79a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; padding-top: .5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
small, p { color: var(--soft); } p { font-size: .87rem; margin: .5rem 0; }
code { font-size: .9em; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .6rem; }
.tiles div, .cards figure { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .7rem .8rem; }
.tiles b { display: block; font-size: 1.4rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: .82rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: .8rem; }
figure { margin: 0; } .cards figcaption { font-weight: 600; margin-bottom: .3rem; }
svg { display: block; width: 100%; height: auto; } svg text { text-anchor: middle; }
.chart text { fill: var(--soft); font-size: 11px; }
.chart .left { text-anchor: end; } .chart .marked { text-anchor: start; fill: var(--mark); }
.grid { stroke: var(--line); }
.mark { stroke: var(--mark); stroke-dasharray: 4 3; } rect.kept { fill: var(--kept); } rect.gone { fill: var(--gone); }
.cloud text { font-weight: 600; }
.w0 { fill: var(--w0); } .w1 { fill: var(--w1); } .w2 { fill: var(--w2); } .w3 { fill: var(--w3); }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .2em 0 .8em;
  vertical-align: -.05em; } .key i:first-child { margin-left: 0; } i.kept { background: var(--kept); }
i.gone { background: var(--gone); } i.line { width: 0 !important; border-left: 2px dashed var(--mark); }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: .25rem .8rem; font-size: .9rem;
  align-items: center; } .bar { display: contents; } .bar .value { font-variant-numeric: tabular-nums; }
.track { background: var(--line); border-radius: 3px; height: .8rem; overflow: hidden; }
.track span { display: block; background: var(--kept); height: 100%; }
@media (max-width: 34rem) { .bars { grid-template-columns: 1fr auto; } .bar .track { grid-column: 1 / -1; }
  .bar .name { order: 0; } .bar .value { grid-column: 2; } .bar { display: grid; grid-column: 1 / -1;
  grid-template-columns: subgrid; } .bar .track { grid-row: 2; } }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; min-width: 60%; }
th, td { text-align: left; padding: .32rem .7rem .32rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; } th { color: var(--soft); font-weight: 600; overflow-wrap: normal; }
.numbers td:not(:first-child), .numbers th:not(:first-child) { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; } .numbers th:not(:first-child) { white-space: normal; }
.numbers td:first-child { white-space: nowrap; }
.thumbs { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .7rem; }
.thumbs img, .blank { display: block; width: 100%; aspect-ratio: 16 / 9; object-fit: contain; background: #0002;
  border-radius: .3rem; } .blank { display: grid; place-items: center; color: var(--soft); aspect-ratio: 16 / 3; }
.thumbs figcaption { font-size: .78rem; line-height: 1.35; color: var(--soft); margin-top: .25rem;
  overflow-wrap: anywhere; } .thumbs b { color: var(--ink); } .none { font-style: italic; }
summary { cursor: pointer; }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """A whole HTML document. `parts` are HTML, the title is text."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def tiles(facts: Mapping[str, str]) -> str:
    """Label -> figure."""
    cells = (f"<div><b>{escape(value)}</b><span>{escape(label)}</span></div>" for label, value in facts.items())
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = False) -> str:
    """Cells are text; `numbers`: all columns but the first are set to the right."""
    first = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    style = ' class="numbers"' if numbers else ""
    return f'<div class="scroll"><table{style}><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>'
