"""What moves, in a real browser: the sliders of the pages, and the explorer in JupyterLab. Nothing but this machine is asked."""
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import matplotlib
import nbformat
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from glassml.explorer import slider  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def opened(browser, **options):
    "A page that cannot reach another machine; afterwards, that it has not tried."
    context, abroad = browser.new_context(**options), []

    def note(request):
        if urlsplit(request.url).hostname not in (None, "127.0.0.1"):
            abroad.append(request.url)

    context.on("request", note)
    try:
        yield context.new_page()
        assert abroad == []
    finally:
        context.close()


def figures(n):
    for k in range(n):
        figure, ax = plt.subplots(figsize=(3, 2))
        ax.plot([0, 1], [0, k])
        yield figure


@pytest.fixture(scope="module")
def two_sliders():
    "A page with two of them."
    both = slider(figures(5), [f"penalty {k}" for k in range(5)], "penalty", start=2), slider(figures(3), "abc", "letter")
    return "<!DOCTYPE html><title>two sliders</title>" + "\n".join(each.data for each in both)


def seen(page):
    "Texts of the pictures that are visible."
    return [image.get_attribute("alt") for image in page.locator("img").all() if image.is_visible()]


def test_arrow_keys_move_a_slider_and_no_other(browser, two_sliders):
    with opened(browser) as page:
        page.set_content(two_sliders)
        control = page.get_by_role("slider", name="penalty")
        assert seen(page) == ["penalty 2", "a"]
        control.focus()
        page.keyboard.press("ArrowRight")
        assert seen(page) == ["penalty 3", "a"]
        assert control.get_attribute("aria-valuetext") == page.locator("output").first.inner_text() == "penalty 3"
        page.keyboard.press("Home")
        assert seen(page) == ["penalty 0", "a"]


def test_a_finger_moves_a_slider(browser, two_sliders):
    with opened(browser, has_touch=True, viewport=dict(width=390, height=844)) as page:
        page.set_content(two_sliders)
        track = page.get_by_role("slider", name="letter").bounding_box()
        page.touchscreen.tap(track["x"] + track["width"] - 4, track["y"] + track["height"] / 2)
        assert seen(page) == ["penalty 2", "c"]
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_without_javascript_one_picture_stays(browser, two_sliders):
    with opened(browser, java_script_enabled=False) as page:
        page.set_content(two_sliders)
        assert seen(page) == ["penalty 2", "a"]


# --- JupyterLab

@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "JupyterLab on a copy of the appendix, on few and small configurations; its address."
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.read(ROOT / "nbs" / "A1_explorer.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.id not in ("honest-test", "penalty-slider")]
    for cell in notebook.cells:
        cell.source = cell.source.replace("load_glass()[:4]", "load_glass('quick_T0.40')").replace("len(path.p) - 1, 21", "len(path.p) - 1, 3")
    assert sum("quick_T0.40" in cell.source or "- 1, 3)" in cell.source for cell in notebook.cells) == 2
    nbformat.write(notebook, folder / "A1_explorer.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    places = {name: str(folder / name) for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--port={port}",
               "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}",
               "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with open(folder / "log.txt", "w") as log:
        server = subprocess.Popen(command, cwd=folder, env=os.environ | places | {"PYTHONPATH": path}, stdout=log, stderr=log)
    try:
        address = lambda what: f"http://127.0.0.1:{port}/{what}?token={token}"
        until(lambda: answers(address("api/status")) is not None, f"JupyterLab does not answer: {folder / 'log.txt'}", 30)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def answers(address):
    "What a server says, or None while there is none."
    try:
        with urlopen(address, timeout=5) as reply:
            return json.load(reply)
    except OSError:
        return None


def until(happened, otherwise, seconds):
    "Wait until something has happened."
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, otherwise
        time.sleep(0.1)


def test_the_explorer_answers_in_jupyterlab(browser, lab):
    pytest.importorskip("anywidget", reason="the explorer needs anywidget: pip install 'glassml[explore]'")
    ready = lambda: any(k["execution_state"] == "idle" and k["connections"] for k in answers(lab("api/kernels")) or [])
    with opened(browser, viewport=dict(width=1400, height=1000)) as page:
        page.goto(lab("lab/tree/A1_explorer.ipynb"))
        page.wait_for_selector(".jp-Notebook")
        until(ready, "the kernel does not start", 30)
        page.click("text=Run >> nth=0")
        page.click("text=Run All Cells")
        measured, predicted, view = (page.locator(f"img[alt^='{start}']") for start in ("Map of the measured", "Map of the predicted", "Particle"))
        measured.wait_for(timeout=180_000)
        source = lambda picture: picture.get_attribute("src")

        words, before = view.get_attribute("alt"), source(view)      # click a particle
        box = measured.bounding_box()
        measured.click(position=dict(x=0.3 * box["width"], y=0.3 * box["height"]))
        until(lambda: source(view) != before, "the click changed no picture", 5)
        chosen = page.locator(".widget-html-content", has_text="Particle").inner_text()
        assert chosen.split(":")[0] != words.split(":")[0] and view.get_attribute("alt").split()[:4] == chosen.split()[:4]

        handle = page.locator(".widget-slider:has-text('penalty') [role=slider]")   # move the penalty
        before, same = source(predicted), source(measured)
        handle.focus()
        page.keyboard.press("ArrowRight")
        until(lambda: source(predicted) != before, "the slider changed no picture", 5)
        assert source(measured) == same
        until(lambda: page.locator(".widget-html-content", has_text="Particle").inner_text() != chosen, "the slider changed no text", 5)

        page.get_by_text("MAP-Lasso", exact=True).last.click()                        # another treatment
        until(lambda: "MAP-Lasso, penalty" in view.get_attribute("alt"), "the button changed nothing", 5)

        still = page.get_by_role("slider", name="slow to fast")                       # the slider of the page works here, too
        still.scroll_into_view_if_needed()
        label = still.get_attribute("aria-valuetext")
        still.focus()
        page.keyboard.press("ArrowLeft")
        assert still.get_attribute("aria-valuetext") != label
