"""Makes docs/live.png anew: ``python docs/picture.py``, with Chromium on the path and the extra insight.

A stand-in at speed 60, an engine that sends to it for fourteen rows, and its table as a terminal of 125 columns shows it.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from playwright.sync_api import sync_playwright
from rich.console import Console

from gridpilot.cli import main
from gridpilot.insight.dashboard.serve import free_port
from gridpilot.live.live_table import LiveTable

PICTURE = Path(__file__).resolve().parent / "live.png"
WIDTH = 125
TITLE = "gridpilot live agent=mpc live=stand_in live.mode=live"


def table_of_a_run(folder: Path) -> LiveTable:
    """The table of an engine, at the end of its run."""
    shown: list[LiveTable] = []
    begin = LiveTable.__init__

    def remembered(table: LiveTable, *arguments: object, **options: object) -> None:
        begin(table, *arguments, **options)  # type: ignore[arg-type]
        shown.append(table)

    os.environ["GRIDPILOT_RUNTIME_DIR"] = str(folder / "engines")
    port, key = free_port(0), folder / "key"
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "gridpilot", "serve-mara", "--port", str(port), "--speed", "60", "--history", "200"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            register = ["live", "register", "--name", "north", "--url", url, "--key-file", str(key)]
            while main(register) != 0:
                time.sleep(1.0)  # until it listens
            os.environ["MARA_API_KEY"] = key.read_text(encoding="utf-8").strip()
            with contextlib.redirect_stdout(io.StringIO()), patch.object(LiveTable, "__init__", remembered):
                main(
                    ["live", "agent=mpc", "live=stand_in", f"live.url={url}", f"live.journal={folder / 'live.db'}", "live.mode=live",
                     "live.rows=14", "live.table=true"]
                )  # fmt: skip
        finally:
            server.terminate()
    return shown[0]


def draw(table: LiveTable, folder: Path) -> None:
    """As a terminal shows it."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(table.render(WIDTH))
    svg = folder / "live.svg"
    console.save_svg(str(svg), title=TITLE, font_aspect_ratio=0.6)
    program = next(found for name in ("chromium-headless-shell", "chromium") if (found := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1620, "height": 900})
        page.set_content(f"<body style='margin:0'>{svg.read_text(encoding='utf-8')}</body>")
        page.locator("svg").first.screenshot(path=str(PICTURE))
        browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        draw(table_of_a_run(Path(name)), Path(name))
