"""The script that Streamlit runs for every look: the navigation, and the page that was chosen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import streamlit as st

from gridpilot.insight.dashboard import ask, clear, decisions, leaderboard, live, match
from gridpilot.insight.dashboard.sources import Sources, served_sources

__all__ = ["PAGES", "main"]

PAGES: Final[dict[str, Callable[[Sources], None]]] = {
    "Live": live.page,
    "Decisions": decisions.page,
    "Leaderboard": leaderboard.page,
    "Match": match.page,
    "Clear": clear.page,
    "Ask": ask.page,
}
"""Name: what draws it. Without icons: the browser would fetch a page's own from a host of fonts."""

# The first page must be seen without scrolling: less room around it than Streamlit leaves. On a telephone the pages would be in a drawer
# that stays open over what was chosen: there they are a line of links.
STYLE: Final = """<style>
[data-testid="stMainBlockContainer"] {padding-bottom: .5rem; padding-left: 2rem; padding-right: 2rem; max-width: none}
[data-testid="stMetricValue"] {font-size: 1.6rem}
[data-testid="stVerticalBlock"] {gap: .6rem}
.st-key-links {display: none}
@media (max-width: 767px) {
  [data-testid="stMainBlockContainer"] {padding-left: .8rem; padding-right: .8rem}
  [data-testid="stSidebar"], [data-testid="stExpandSidebarButton"] {display: none}
  .st-key-links {display: flex}
}
</style>"""


def main() -> None:
    """Draw the page that is looked at."""
    st.set_page_config(page_title="GridPilot", layout="wide")
    sources = served_sources()
    pages = [
        st.Page(_named(draw, sources, name), title=name, url_path=name.lower(), default=name == "Live")
        for name, draw in PAGES.items()
    ]
    chosen = st.navigation(pages, position="top")
    st.html(STYLE)
    with st.container(horizontal=True, key="links", gap="xsmall"):
        for page in pages:
            st.page_link(page, width="content")
    chosen.run()


def _named(draw: Callable[[Sources], None], sources: Sources, name: str) -> Callable[[], None]:
    """Streamlit knows a page by the name of its function."""
    shown = partial(draw, sources)
    shown.__name__ = name.lower()  # type: ignore[attr-defined]
    return shown


if __name__ == "__main__":
    main()
