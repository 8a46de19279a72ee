"""How the site is built from these pages: `make docs`."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import ozelot

for _noisy in ("luigi-interface", "alembic"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", category=sa.exc.SAWarning)  # autodoc reads what only instances should be asked for

project = "ozelot"
author = "The ozelot maintainers"
release = ozelot.__version__
html_title = f"ozelot {release}"
html_theme = "furo"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
root_doc = "docs/site/index"
# The source is the whole repository: so links between pages and examples are what they are where the files are read.
include_patterns = ["docs/**", "examples/**/README.md", "benchmarks/README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = ["docs/index.md", "examples/new", "**/.*"]
myst_heading_anchors = 3
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
