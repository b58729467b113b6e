"""Pages that explain and report: one HTML file each, which needs no network, no server and no other file."""

from segattn_cli.pages.arrays import pack, quantise, unpack
from segattn_cli.pages.pictures import cividis, data_url
from segattn_cli.pages.render import render_page

__all__ = ["cividis", "data_url", "pack", "quantise", "render_page", "unpack"]
