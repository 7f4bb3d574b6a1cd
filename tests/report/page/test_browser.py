"""The page in a real browser, headless: what it shows, fetches, and whether it can be read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pdtest.report.account import read_account
from pdtest.report.page import render

#: As Debian and others call it.
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_WIDE: Final = 1280
_NARROW: Final = 390

#: Pictures that cannot be seen.
_UNSEEN: Final = """() => [...document.querySelectorAll('svg, img')]
  .filter(one => { const box = one.getBoundingClientRect();
    return getComputedStyle(one.closest('td') || one).display !== 'none'
      && (box.width < 20 || box.height < 8 || (one.tagName === 'IMG' && !one.naturalWidth)); })
  .map(one => one.outerHTML.slice(0, 200))"""

#: Things that reach beyond the page's right edge, though nothing scrolls them.
_BEYOND: Final = """() => [...document.querySelectorAll('body *')]
  .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    && !one.closest('.scroll, nav, pre, svg'))
  .map(one => one.outerHTML.slice(0, 200))"""

#: Texts whose contrast with what is behind them is too low (WCAG 2.1, AA).
_FAINT: Final = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const colours = new Map(), numbers = text => {
    if (!colours.has(text)) {
      canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
      colours.set(text, [...canvas.getImageData(0, 0, 1, 1).data]); }
    return colours.get(text); };
  const light = rgb => rgb.slice(0, 3).map(one => one / 255)
    .map(one => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = one => { for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor, rgba = numbers(colour);
      if (rgba[3] > 200) return colour; }
    return 'white'; };
  const known = new Map(), faint = [];
  for (const one of document.querySelectorAll('body *')) {
    const texts = [...one.childNodes].filter(node => node.nodeType === 3 && node.textContent.trim());
    if (one.closest('svg') || !texts.length) continue;
    const style = getComputedStyle(one), pair = style.color + '|' + behind(one);
    if (!known.has(pair)) { const [front, back] = pair.split('|').map(numbers).map(light);
      known.set(pair, (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05)); }
    const large = parseFloat(style.fontSize) >= 24;
    if (known.get(pair) < (large ? 3 : 4.5))
      faint.push([known.get(pair), pair, one.textContent.trim().slice(0, 60)]);
  }
  return [known.size, faint]; }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("there must be a Chromium in CI: apt-get install chromium")
        pytest.skip("no Chromium")
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work for root, who it is in containers.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render(read_account(run), run), encoding="utf-8")
    return file


def opened(browser: Browser, file: Path, *, width: int, scheme: Any) -> tuple[Page, list[str]]:
    """The page with all its folds open, and what the browser had to complain of."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("request", lambda request: _elsewhere(request.url, said))
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    return page, said


def _elsewhere(url: str, said: list[str]) -> None:
    if not url.startswith(("file:", "data:")):
        said.append(f"asked for {url}")


@pytest.mark.parametrize(("width", "scheme"), [(_WIDE, "light"), (_NARROW, "dark")])
def test_it_can_be_read(browser: Browser, file: Path, width: int, scheme: str) -> None:
    page, said = opened(browser, file, width=width, scheme=scheme)
    assert said == []
    assert page.title() == "pdtest: failed, 20260921-142640-abc123"
    assert page.locator("svg").count() > 50
    assert page.locator("img").count() == 1
    assert page.evaluate(_UNSEEN) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(_BEYOND) == []
    pairs, faint = page.evaluate(_FAINT)
    assert pairs > 8
    assert faint == []
    page.close()


def test_it_follows_the_scheme(browser: Browser, file: Path) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        page, _ = opened(browser, file, width=_WIDE, scheme=scheme)
        backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.close()
    assert backgrounds == ["rgb(244, 246, 248)", "rgb(13, 17, 23)"]


def test_the_checks_can_fail(browser: Browser, file: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.html"
    bad = (
        '<p style="color:#bbb;background:#fff">faint</p><div style="width:2000px">wide</div>'
        '<svg width="3" height="3"></svg><img src="http://127.0.0.1:9/x.png"><script>nothing()</script></main>'
    )
    spoilt.write_text(file.read_text(encoding="utf-8").replace("</main>", bad), encoding="utf-8")
    page, said = opened(browser, spoilt, width=_NARROW, scheme="light")
    assert any("asked for http://127.0.0.1:9/x.png" in one for one in said)
    assert any("nothing is not defined" in one for one in said)
    assert len(page.evaluate(_UNSEEN)) == 2
    assert any("wide" in one for one in page.evaluate(_BEYOND))
    assert [text for _, _, text in page.evaluate(_FAINT)[1]] == ["faint"]
    page.close()
