"""Records README's picture: one sample in the viewer of `inspect --html`, as the teacher and as the student at three mask rates see it.

    python docs/record_viewer.py

docs/viewer-light.png and viewer-dark.png are screenshots of real pages, side by side, made by Chromium. Written anew only by hand.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
THEMES = ("light", "dark")
RATES = (0.0, 0.5, 1.0)
PANE, HEIGHT = 400, 850
BUILD = "build demo --limit 8 --set name=tour --set build.min_samples=1 --set build.diagnoses=traced -q"
# Of the page only the tokens and their counts are shown: no controls, no scroll bars.
STYLE = """
  body > :not(main), main > :not(article), h1, h1 + p, .controls, .legend { display: none !important }
  main, article, .viewer { margin: 0 !important; padding: 4px !important; max-width: none !important; border: 0 !important }
  .counts { margin-top: 0 !important }
  .tokens { font-size: 9.5px !important; line-height: 1.38 !important; max-height: none !important }
"""


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is needed: apt install chromium")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _reflectioncoder(folder, BUILD)
        data = folder / "runs/tour/build/reflections.jsonl"
        shortest = min(data.read_text(encoding="utf-8").splitlines(), key=len)
        for rate in RATES:
            _reflectioncoder(folder, f"inspect {data} --id {json.loads(shortest)['id']} --mask-rate {rate} --html {rate}.html -q")
        for theme in THEMES:
            page = _side_by_side(folder, theme)
            size = f"--window-size={PANE * (len(RATES) + 1)},{HEIGHT}"
            options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"]
            target = f"--screenshot={FOLDER / f'viewer-{theme}.png'}"
            scale = "--force-device-scale-factor=1.25"
            subprocess.run([chromium, *options, scale, size, target, page.as_uri()], check=True, capture_output=True)


def _reflectioncoder(folder: Path, arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "reflectioncoder", *arguments.split()], cwd=folder, check=True)


def _side_by_side(folder: Path, theme: str) -> Path:
    """Write a page with the teacher's view and the student's at each mask rate."""
    views = [("teacher: sees everything", "teacher", RATES[0]), *((f"student, mask rate {rate:g}", "student", rate) for rate in RATES)]
    panes = []
    for number, (caption, view, rate) in enumerate(views):
        page = (folder / f"{rate}.html").read_text(encoding="utf-8")
        page = re.sub(r"<meta http-equiv=.Content-Security-Policy.*?>", "", page, count=1, flags=re.DOTALL)
        chosen = f"const pick = document.querySelector('.pick-view'); pick.value = '{view}'; pick.dispatchEvent(new Event('input'));"
        script = f"document.documentElement.dataset.theme = '{theme}'; {chosen}"
        page = page.replace("</head>", f"<style>{STYLE}</style></head>").replace("</body>", f"<script>{script}</script></body>")
        (folder / f"pane-{number}.html").write_text(page, encoding="utf-8")
        panes.append(f'<section><b>{caption}</b><iframe src="pane-{number}.html"></iframe></section>')
    colours = "background: #16161a; color: #e8e8ee" if theme == "dark" else "background: #fbfbfa; color: #1f1f26"
    style = f"body {{ margin: 0; display: flex; font: 15px sans-serif; {colours} }} section {{ width: {PANE}px }}"
    style += f" b {{ display: block; padding: 10px 12px 0 }} iframe {{ border: 0; width: {PANE}px; height: {HEIGHT}px }}"
    path = folder / f"{theme}.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><style>{style}</style>{''.join(panes)}", encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
