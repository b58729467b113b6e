"""What pages, charts and overlays are drawn with."""

from segattn_cli.rendering.data_urls import cividis, data_url
from segattn_cli.rendering.packing import pack, quantise, unpack
from segattn_cli.rendering.page import render_page

__all__ = ["cividis", "data_url", "pack", "quantise", "render_page", "unpack"]
