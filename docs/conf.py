"""The site: ``make docs`` builds it into ``build/docs``, from where it opens without a server."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "extensions")]

project = "segattn"
author = "the authors of segattn"
html_title = "segattn"
root_doc = "index"
exclude_patterns = ["extensions", "static"]
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "formulas",
    "repository_files",
    "command_reference",
    "op_pages",
    "live_examples",
    "network_pages",
    "train_step",
    "explorer_page",
]

# Markdown as on GitHub: anchors of headings, formulas between dollars, tables.
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "attrs_inline"]
myst_heading_anchors = 4
highlight_language = "none"
smartquotes = False  # --option stays as it is typed

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_display_short_literal_types = True
add_module_names = False
nitpicky = True
# Types of other projects have no page here, and neither have those that are private to an op.
nitpick_ignore_regex = [("py:class", r".*")]

# One folder that asks for nothing elsewhere: no fonts, and formulas as MathML.
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["op_code.js", "networks.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_math_renderer = "mathml"
# A summary of what the search finds would be read from other files, which browsers refuse without a server.
html_show_search_summary = False
