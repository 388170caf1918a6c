"""Read the finished site as a browser would, and say what is broken. Usage: check_site.py FOLDER"""
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src", "audio": "src",
           "object": "data", "embed": "src", "use": "href"}
UNRESOLVED = [
    (re.compile(r"\?@\w+|(?<![\w.])@(?:fig|tbl|eq|sec)-[\w-]+"), "an unknown reference"),
    (re.compile(r"\[-?@\w[^\]]*\]"), "a citation that nothing resolves"),
    (re.compile(r"\]\([^()\s]+\.(?:html|ipynb)[^()]*\)"), "a link that is left as text"),
    (re.compile(r"Traceback \(most recent call last\)"), "a traceback"),
    (re.compile(r"cell-output-error"), "an error output"),
]
HEAVY = 3_000_000  # bytes of a page with its pictures
REMOTE_CSS = re.compile(r"""(?:@import\s*(?:url\()?|url\()\s*['"]?(?:https?:)?//[^\s'")]+""")


class Page(HTMLParser):
    "The ids, the links, the fetched resources, the pictures without words and the text of a page."

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.resources, self.silent, self.text, self.code = set(), [], [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {v for k, v in attributes if v and (k == "id" or (tag == "a" and k == "name"))}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag in ("img", "svg") and not any(values.get(name) for name in ("alt", "aria-label", "aria-hidden")):
            self.silent.append((values.get("src") or values.get("id") or tag)[:60])
        if values.get(FETCHED.get(tag)) and "canonical" not in (values.get("rel") or ""):
            self.resources.append(values[FETCHED[tag]])
        if values.get("style"):
            self.resources += [m[0].split("//", 1)[-1] and "//" + m[0].split("//", 1)[-1] for m in REMOTE_CSS.finditer(values["style"])]
        self.code += tag in ("code", "script", "style")
        self.in_style = tag == "style"

    def handle_endtag(self, tag):
        self.code -= tag in ("code", "script", "style")
        self.in_style = False

    def handle_data(self, data):
        if getattr(self, "in_style", False):
            self.resources += ["//" + m[0].split("//", 1)[-1] for m in REMOTE_CSS.finditer(data)]
        if not self.code:
            self.text.append(data)


def remote(address):
    "Whether an address leaves the site."
    return bool(re.match(r"(?:https?:)?//", address))


def weight(path, page):
    "Bytes of a page and of what it alone fetches; what stands in site_libs is fetched once for all pages."
    own = {path.parent / unquote(urlsplit(a).path) for a in page.resources if not re.match(r"[a-z]*:?//|data:|site_libs", a)}
    return sum(file.stat().st_size for file in {path, *own} if file.is_file())


def check_site(folder):
    "The complaints about a site: broken links and anchors, pictures without words, outside requests, heavy pages, errors."
    folder = Path(folder).resolve()
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.html"))}
    pages = {path: Page(text) for path, text in texts.items()}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder)
        found += [f"{name}: fetches {address[:100]}" for address in page.resources if remote(address)]
        found += [f"{name}: no alternative text for {picture}" for picture in page.silent]
        if weight(path, page) > HEAVY:
            found.append(f"{name}: {weight(path, page) / 1e6:.2f} MB, more than {HEAVY / 1e6:g}")
        for address in page.links + [a for a in page.resources if not remote(a)]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                continue
            target = path if not parts.path else (folder if parts.path.startswith("/") else path.parent) / unquote(parts.path).lstrip("/")
            target = target.resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                found.append(f"{name}: broken link {address}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                found.append(f"{name}: broken anchor {address}")
        prose = " ".join(page.text)
        for pattern, complaint in UNRESOLVED[:3]:
            found += [f"{name}: {complaint}, {m[0]}" for m in pattern.finditer(prose)]
        found += [f"{name}: {complaint}" for pattern, complaint in UNRESOLVED[3:] if pattern.search(texts[path])]
    for path in sorted(folder.rglob("*.css")):
        found += [f"{path.relative_to(folder)}: fetches {m[0][:100]}" for m in REMOTE_CSS.finditer(path.read_text(encoding="utf-8"))]
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    complaints = check_site(sys.argv[1])
    sys.exit("\n".join(complaints) if complaints else 0)
