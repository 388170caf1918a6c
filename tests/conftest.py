"""What several files of tests share."""
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def browser():
    "A Chromium, playwright's own or that of the machine, that finds no other machine."
    sync_api = pytest.importorskip("playwright.sync_api", reason="a browser is driven by playwright: pip install 'glassml[browser]'")
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = own if Path(own).exists() else next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if found is None:
            pytest.skip("no Chromium: install one, or run 'playwright install chromium'")
        browser = playwright.chromium.launch(executable_path=found, args=[
            "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])
        yield browser
        browser.close()
