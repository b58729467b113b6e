"""A headless Chromium that opens pages from the disk, and complains of what pages must not do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

#: What keeps a browser from looking for servers of its own.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]

#: In the order of preference: without windows, a page takes half the time.
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
#: Milliseconds after which a test gives up, however busy the machine is.
PATIENCE = 300_000


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Chromium, driven by Playwright."""
    reason = "Playwright is not installed: pip install playwright"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"Chromium is not installed: apt install {BROWSERS[0]}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET, timeout=PATIENCE)
        yield browser
        browser.close()


class Visitor:
    """One page in the browser, and what it asked for and complained of."""

    def __init__(self, context: Any, path: Path) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.errors.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.absolute().as_uri())
        self.page.wait_for_selector("body[data-ready]")

    def left_the_page(self) -> list[str]:
        """The requests for anything but the file itself and what stands in it."""
        return [url for url in self.requests[1:] if not url.startswith(("data:", "blob:"))]


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Visitor]]:
    """``visit(path, **how)`` opens a page; in the end, none has written to the console or asked for anything."""
    opened: list[tuple[Any, Visitor]] = []

    def open_page(path: Path, **how: Any) -> Visitor:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, "offline": True, **how})
        opened.append((context, Visitor(context, path)))
        return opened[-1][1]

    yield open_page
    for context, visitor in opened:
        assert visitor.errors == []
        assert visitor.left_the_page() == []
        context.close()
