"""Every page in a real browser: it draws, the console has no error, and no other host is asked for anything."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
DRAWN = {
    "Live": "[data-testid=stMetric]",
    "Decisions": "[data-testid=stDataFrame]",
    "Leaderboard": "canvas",
    "Match": "canvas",
    "Clear": "canvas",
    "Ask": "[data-testid=stDataFrame]",
}


def _missing(package: str) -> None:
    reason = f"no {package} on this machine"
    if os.environ.get("GRIDPILOT_BROWSER") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright (pip install playwright)")
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        _missing("Chromium (apt-get install chromium-headless-shell)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(folder: Path, journal: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a dashboard of its own process."""
    command = [sys.executable, "-m", "gridpilot", "dashboard", str(folder), str(journal), "--port", "0", "--no-browser"]
    log = tmp_path_factory.mktemp("dashboard") / "err"
    with log.open("wb") as err, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
        assert found, f"{line!r}, {log.read_text()}"
        yield found.group()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_every_page_draws_without_an_error_and_asks_no_other_host(browser: Any, address: str, width: int, height: int) -> None:
    own = address.partition("/?")[0]
    context = browser.new_context(viewport={"width": width, "height": height})
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if _is_foreign(request.url, own) else None)
    page.goto(address)
    for name, drawn in DRAWN.items():
        if name != "Live":
            page.get_by_role("link", name=name).locator("visible=true").click()
            page.wait_for_url(f"{own}/{name.lower()}*")
        page.wait_for_selector(f"[data-testid=stMain] {drawn}", timeout=60_000)
        page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')", timeout=60_000)
        assert page.locator("[data-testid=stException]").count() == 0, name
        assert page.get_by_text("This cannot be shown.").count() == 0, name
        wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
        assert wide <= width, f"{name} is {wide} px wide"
        if name == "Live" and width == 1440:
            tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
            assert tall <= height, f"the first page is {tall} px tall"
    assert problems == []
    assert "token" not in page.url
    context.close()


def test_who_has_no_token_sees_nothing(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    answer = page.goto(address.partition("/?")[0] + "/")
    assert answer.status == 403
    assert "gridpilot dashboard printed" in page.content()
    context.close()


def _is_foreign(url: str, own: str) -> bool:
    return not url.startswith((f"{own}/", f"{own.replace('http', 'ws')}/", "data:", f"blob:{own}/"))
