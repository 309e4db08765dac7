"""Opens a page in headless Chromium and asks it questions in JavaScript."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_PROBE = """
window.addEventListener("load", () => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);
  const set = (selector, value) => { one(selector).value = value; one(selector).dispatchEvent(new Event("input")); };
  const press = (selector, key) => one(selector).dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true, bubbles: true }));
  const answer = {};
  try { %s } catch (error) { answer.failed = String(error.stack); }
  document.body.dataset.answer = JSON.stringify(answer);
});
"""
_ERRORS = 'window.addEventListener("error", (e) => { document.documentElement.dataset.failed = e.message; });'


def ask(path: Path, script: str, profile: Path) -> dict[str, Any]:
    """Return what `script` has put into `answer`; it may use `one`, `all`, `set` and `press`.

    The page's policy stays as it is, but for the hashes of the two scripts that ask. Fails on any error of the page's own scripts,
    on any message on its console, and if the page's title is another one afterwards: what a hostile program would set.
    """
    assert CHROMIUM is not None
    probe = _PROBE % script
    allowed = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in (_ERRORS, probe))
    text = path.read_text()
    assert text.count("script-src ") == text.count("<body>") == 1
    text = text.replace("script-src ", f"script-src {allowed} ").replace("<body>", f"<body><script>{_ERRORS}</script>")
    asking = path.with_name(f"asking-{path.name}")
    asking.write_text(text.replace("</body>", f"<script>{probe}</script></body>"))
    browser = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
        "--enable-logging=stderr", "--virtual-time-budget=4000", "--window-size=1280,900",
    ]  # fmt: skip
    result = subprocess.run([*browser, "--dump-dom", asking.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    assert "data-failed" not in result.stdout
    assert "CONSOLE" not in result.stderr, result.stderr
    title = re.search("<title>(.*?)</title>", text)
    assert title is not None
    assert title[0] in result.stdout
    answer = re.search(r'data-answer="(.*?)"', result.stdout)
    assert answer, result.stdout[:500]
    found = json.loads(html.unescape(answer[1]))
    assert "failed" not in found, found["failed"]
    return found
