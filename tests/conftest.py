"""What several files of tests share."""
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest


def missing(what):
    "Skip what needs a browser where there is none, but fail where one was promised."
    (pytest.fail if os.environ.get("BROWSER_PROMISED") else pytest.skip)(what)


@pytest.fixture(scope="module")
def browser():
    "A Chromium, playwright's own or that of the machine, that finds no other machine."
    if not find_spec("playwright"):
        missing("no playwright: pip install 'glassml[browser]'")
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = own if Path(own).exists() else next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if found is None:
            missing("no Chromium: install one, or run 'playwright install chromium'")
        browser = playwright.chromium.launch(executable_path=found, args=[
            "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])
        yield browser
        browser.close()
