"""The studio's pages, one tab each. Next: `generate.py`, `compare.py`, `curate.py`."""

from __future__ import annotations

import gradio as gr

from videosyn.app.serve.service import Service
from videosyn.app.serve.studio.compare import compare_page
from videosyn.app.serve.studio.curate import curate_page
from videosyn.app.serve.studio.datasets import Datasets
from videosyn.app.serve.studio.generate import generate_page
from videosyn.app.serve.uploads import Uploads

CACHE_S = (3600, 24 * 3600)
"""Gradio's own copies of files: how often it looks, and how old they may be."""


def make_pages(service: Service, uploads: Uploads, datasets: Datasets) -> gr.Blocks:
    """The whole studio."""
    with gr.Blocks(title="videosyn studio", analytics_enabled=False, delete_cache=CACHE_S, fill_width=False) as blocks:
        gr.Markdown("# videosyn studio", elem_classes="title")
        with gr.Tabs():
            with gr.Tab("Generate"):
                generate_page(service, uploads, blocks)
            with gr.Tab("Compare"):
                compare_page(service)
            with gr.Tab("Curate"):
                curate_page(datasets)
    return blocks
