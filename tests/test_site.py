"""The site as a browser shows it: on a desk, in the dark and on a phone, with every request but to itself refused."""
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import missing

ROOT = Path(__file__).resolve().parent.parent
SCREENS = {"desk": dict(viewport={"width": 1280, "height": 800}), "phone": dict(viewport={"width": 390, "height": 844}),
           "dark": dict(viewport={"width": 1280, "height": 800}, color_scheme="dark")}
WIDER = """() => document.documentElement.scrollWidth > document.documentElement.clientWidth && [...document.querySelectorAll('main *')]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map(e => e.tagName + ' ' + e.textContent.slice(0, 40))"""
# The contrast of all text in view with what is painted behind it, by the formulas of WCAG 2.2.
FAINT = """() => {
    const rgba = c => { const v = c.match(/[\\d.]+/g).map(Number); return c.startsWith('color(') ? [...v.slice(0, 3).map(x => 255 * x), v[3]] : v }
    const over = (c, below, opacity = 1) => c.slice(0, 3).map((v, i) => below[i] + (v - below[i]) * (c[3] ?? 1) * opacity)
    const known = new Map([[null, [255, 255, 255]]])
    const behind = e => known.get(e) ?? known.set(e, over(rgba(getComputedStyle(e).backgroundColor), behind(e.parentElement))).get(e)
    const opacity = e => e ? getComputedStyle(e).opacity * opacity(e.parentElement) : 1
    const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
    const luminance = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2])
    const found = {}
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (texts.nextNode()) {
        const e = texts.currentNode.parentElement, text = texts.currentNode.textContent.trim()
        if (!text || !e.checkVisibility({opacityProperty: true, visibilityProperty: true}) || e.closest('script, style, svg, .katex-mathml')) continue
        const style = getComputedStyle(e), size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700)
        const [a, b] = [over(rgba(style.color), behind(e), opacity(e)), behind(e)].map(luminance).sort((x, y) => y - x)
        const ratio = (a + 0.05) / (b + 0.05)
        if (ratio < (large ? 3 : 4.5)) found[`${e.tagName}.${e.className} ${style.color}`] ??= `${ratio.toFixed(2)} ${text.slice(0, 30)}`
    }
    return Object.entries(found).map(pair => pair.join(': '))
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "The folder of the site: the one that was built, or one from the stored outputs."
    if (ROOT / "_docs" / "index.html").exists():
        return ROOT / "_docs"
    copy = tmp_path_factory.mktemp("site")
    for name in ("nbs", "tools", "glassml"):
        shutil.copytree(ROOT / name, copy / name)
    for name in ("_quarto.yml", "settings.ini"):
        shutil.copy(ROOT / name, copy)
    (copy / "_build" / "nbs").mkdir(parents=True)
    for notebook in (copy / "nbs").glob("*.ipynb"):
        shutil.copy(notebook, copy / "_build" / "nbs")
    subprocess.run([sys.executable, "tools/build_site.py"], cwd=copy, env=os.environ | {"PYTHONPATH": str(copy)}, check=True)
    return copy / "_docs"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address(site):
    "Where the site is served, on this machine only."
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def tab(browser, address, request):
    "An empty tab on one of the screens; `tab.complaints` lists what goes wrong in it."
    context = browser.new_context(**SCREENS[getattr(request, "param", "desk")])
    page, page.complaints = context.new_page(), []
    listen(page, address)
    yield page
    context.close()


def listen(page, address):
    "Refuse what is not on this site, and write down errors."
    def judge(route):
        if route.request.url.startswith((address, "data:", "blob:")):
            return route.continue_()
        page.complaints.append(f"request: {route.request.url}")
        route.abort()

    page.route("**/*", judge)
    page.on("console", lambda message: message.type in ("error", "warning") and page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))


def look(tab, address):
    "Everything that is wrong with a page on this screen."
    tab.complaints.clear()
    tab.goto(address, wait_until="load")
    wider, faint = tab.evaluate(WIDER), tab.evaluate(FAINT)
    return tab.complaints + [f"too wide: {wider}"] * bool(wider) + [f"contrast {one}" for one in faint]


@pytest.mark.parametrize("tab", SCREENS, indirect=True)
def test_every_page_is_sound(tab, site, address):
    found = {page.name: complaints for page in sorted(site.glob("*.html")) if (complaints := look(tab, address + page.name))}
    assert not found, "\n".join(f"{page}: {one}" for page, complaints in found.items() for one in complaints)


@pytest.mark.parametrize("tab, fold", [("desk", 800), ("phone", 1.5 * 844)], indirect=["tab"])
def test_the_answer_is_above_the_fold(tab, address, fold):
    tab.goto(address)
    figure = tab.locator("figure img").first
    assert "±" in tab.locator(".cell-output-markdown").first.inner_text()
    assert figure.bounding_box()["y"] + figure.bounding_box()["height"] < fold


def test_search_finds_a_word(tab, address):
    tab.goto(address)
    tab.get_by_label("Search").fill("isoconfigurational")
    tab.locator(".smalldocs-search-results a").first.click()
    assert "isoconfigurational" in tab.locator("main").inner_text().lower()


def test_dark_and_light_can_be_switched(tab, address):
    tab.goto(address)
    shade = "getComputedStyle(document.body).backgroundColor"
    before = tab.evaluate(shade)
    tab.locator(".quarto-color-scheme-toggle").first.click()
    assert tab.evaluate(shade) != before


@pytest.mark.parametrize("body, complaint", [
    ("<main><p style='color: #999'>faint</p></main>", "contrast P. rgb(153, 153, 153): 2.85 faint"),
    ("<main><p style='opacity: .4'>faint</p></main>", "contrast P"),
    ("<main><pre style='width: 3000px'>long</pre></main>", "too wide"),
    ("<img src='https://example.org/a.png'>", "request: https://example.org/a.png"),
    ("<script>nothing()</script>", "nothing is not defined"),
    ("<script>console.error('no')</script>", "no"),
])
def test_what_is_wrong_is_noticed(tab, address, body, complaint):
    head = "<!doctype html><meta name=viewport content='width=device-width'><link rel=icon href='data:,'>"
    tab.route(address + "wrong.html", lambda route: route.fulfill(body=head + body, content_type="text/html"))
    assert any(complaint in one for one in look(tab, address + "wrong.html"))


@pytest.mark.parametrize("promised, end", [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_browser_that_was_promised_must_be_there(promised, end, monkeypatch):
    monkeypatch.setenv("BROWSER_PROMISED", promised)
    with pytest.raises(end, match="no browser"):
        missing("no browser")
