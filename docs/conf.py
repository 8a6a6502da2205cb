"""Configuration of the documentation; ``scripts/docs`` builds it, offline, into docs/_build."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for generated.py

import generated

from gridpilot import __version__

project = "GridPilot-GT"
author = "the GridPilot-GT authors"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # pages of the repository that are included may begin below the first level
exclude_patterns = ["_build", "reference/_*.md"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"GridPilot-GT {version}"
html_static_path: list[str] = []
html_copy_source = False
html_theme_options = {"light_css_variables": {"font-stack": "system-ui, sans-serif"}}


def setup(app: object) -> None:
    """Write the pages that are made from the code before anything is read."""
    app.connect("builder-inited", lambda _: generated.write_all(Path(__file__).resolve().parent / "reference"))  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", generated.as_restructured_text)  # type: ignore[attr-defined]
