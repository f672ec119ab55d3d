"""Draws a dashboard as a picture, without a Grafana: its queries answered by a Prometheus, its
panels drawn by Grafana's own components in a headless Chromium.

    python -m dashboards.preview overview --prometheus http://127.0.0.1:9090 -o overview.png

Needs npm and Chromium; npm's packages go to ``out/preview``. It is no Grafana: one page, every
variable at *All*, the heat map and the exemplars painted by the page itself. It exits with 1 and
names the panels that drew nothing. Of one panel (``--panel``) it says the exemplars, too.
"""

from __future__ import annotations

import argparse
import difflib
import html
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

_HERE: Final = Path(__file__).resolve().parent
_ROOT: Final = _HERE.parents[1]
_COLUMN: Final = 62  # of 24, in pixels, as in page.tsx
_ROW: Final = 38
_DOTS: Final = 3  # how many are said
_POINTS: Final = 240  # about as many as Grafana asks of a panel this wide


def main() -> int:
    """Ask, draw, say which panels drew nothing."""
    parser = argparse.ArgumentParser("python -m dashboards.preview", description=__doc__)
    names = sorted(file.stem for file in (_ROOT / "dashboards" / "json").glob("*.json"))
    parser.add_argument("dashboard", choices=names)
    parser.add_argument("--prometheus", required=True, metavar="URL")
    parser.add_argument("--end", type=float, default=None, metavar="EPOCH", help="now by default")
    parser.add_argument("--seconds", type=float, default=300.0, help="how far back it looks")
    parser.add_argument("--scrape", type=float, default=1.0, help="the scrape interval, in seconds")
    parser.add_argument("--panel", metavar="TITLE", help="this panel alone")
    parser.add_argument("--light", action="store_true", help="Grafana's light theme")
    parser.add_argument("-o", "--output", required=True, metavar="PNG")
    chosen = parser.parse_args()
    missing = [name for name in ("npm", "chromium") if shutil.which(name) is None]
    if missing:
        sys.exit(f"error: {' and '.join(missing)} not found on PATH")
    dashboard = json.loads((_ROOT / "dashboards" / "json" / f"{chosen.dashboard}.json").read_text())
    if chosen.panel is not None:
        dashboard["panels"] = [_alone(dashboard["panels"], chosen.panel)]
    step = max(1, math.ceil(chosen.seconds * 1000 / _POINTS))  # in milliseconds, from here on
    to = math.floor((time.time() if chosen.end is None else chosen.end) * 1000 / step) * step
    since = to - math.ceil(chosen.seconds * 1000 / step) * step
    scrape = round(chosen.scrape * 1000)
    window = f"{max(4 * scrape, step + scrape)}ms"  # Grafana's $__rate_interval
    for number, panel in enumerate(dashboard["panels"]):
        panel["id"] = number  # as Grafana gives them on import
    try:
        answers = {
            panel["id"]: [
                _ask(chosen.prometheus, target["expr"], window, since, to, step)
                for target in panel["targets"]
            ]
            for panel in dashboard["panels"]
            if panel["type"] != "row"
        }
        exemplars = {
            panel["id"]: _exemplars(chosen.prometheus, panel["targets"][0]["expr"], since, to)
            for panel in dashboard["panels"]
            if any(target.get("exemplar") for target in panel.get("targets", ()))
        }
    except (OSError, ValueError) as error:
        sys.exit(f"error: {chosen.prometheus}: {error}")
    asked = {
        "dashboard": dashboard,
        "answers": answers,
        "exemplars": exemplars,
        "from": since,
        "to": to,
        "step": step,
        "dark": not chosen.light,
    }
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    columns = max(panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in dashboard["panels"])
    size = (columns * _COLUMN + 16, rows * _ROW + 16)
    title = _draw(asked, _bundle(), Path(chosen.output).resolve(), size)
    found = json.loads(title)
    drawn = len(found["drawn"])
    print(f"{chosen.output}: {drawn} panel{'' if drawn == 1 else 's'} drawn")
    if chosen.panel is not None and (dots := exemplars.get(0)):
        print("its dots, the longest first:")
        for dot in sorted(dots, key=lambda dot: -dot["value"])[:_DOTS]:
            print(f"  {dot['value']:.3f} s at {_clock(dot['at'])}, trace {dot['trace']}")
    if found["empty"]:
        print(f"error: nothing drawn in {', '.join(found['empty'])}", file=sys.stderr)
        return 1
    return 0


def _alone(panels: list[dict[str, Any]], title: str) -> dict[str, Any]:
    """The panel of that title, at the top left."""
    titles = [panel["title"] for panel in panels if panel["type"] != "row"]
    for panel in panels:
        if panel["title"] == title and panel["type"] != "row":
            panel["gridPos"].update(x=0, y=0, w=12)
            return panel
    close = difflib.get_close_matches(title, titles, 1, 0.0)
    sys.exit(f"error: no panel {title!r}; did you mean {close[0]!r}?")


def _exemplars(url: str, expr: str, since: int, to: int) -> list[dict[str, Any]]:
    """The traces that the query's series name in that time (in milliseconds), as Grafana asks."""
    times = {"start": since / 1000, "end": to / 1000}
    expr = _filled(expr, "1m")  # of which the series alone count
    asked = urllib.parse.urlencode({"query": expr, **times})
    with urllib.request.urlopen(f"{url}/api/v1/query_exemplars?{asked}", timeout=30) as answer:
        series = json.load(answer)["data"]
    return [
        {
            "at": found["timestamp"] * 1000,
            "value": float(found["value"]),
            "trace": found["labels"].get("trace_id", "?"),
        }
        for one in series
        for found in one["exemplars"]
    ]


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(at / 1000))


def _filled(expr: str, window: str) -> str:
    for name in ("job", "instance", "pool"):
        expr = expr.replace(f"${name}", ".*")
    return expr.replace("$__rate_interval", window)


def _ask(url: str, expr: str, window: str, since: int, to: int, step: int) -> Any:
    """The series of a query over the time shown (in milliseconds), every variable at *All*."""
    expr = _filled(expr, window)
    times = {"start": since / 1000, "end": to / 1000, "step": step / 1000}
    asked = urllib.parse.urlencode({"query": expr, **times})
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query_range?{asked}", timeout=30) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise ValueError(f"{expr}: {error.read().decode()}") from None


def _bundle() -> Path:
    """The page's program with all that it needs; made once, and again when its source changes."""
    folder = _ROOT / "out" / "preview"
    made = folder / "page.js"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (_HERE / "package.json").read_text()
    pinned = folder / "package.json"
    if not pinned.exists() or pinned.read_text() != wanted:
        print("installing Grafana's components (600 MB, some minutes) ...", flush=True)
        shutil.rmtree(folder / "node_modules", ignore_errors=True)
        scratch = folder / "package.json.new"
        scratch.write_text(wanted)
        pinned.unlink(missing_ok=True)
        scratch.rename(pinned)
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"],
            cwd=folder,
            check=False,
        )
        if done.returncode:
            pinned.unlink()
            sys.exit("error: npm install failed")
    page = _HERE / "page.tsx"
    if not made.exists() or made.stat().st_mtime < page.stat().st_mtime:
        shutil.copy(page, folder)
        subprocess.run(
            [
                folder / "node_modules" / ".bin" / "esbuild",
                "page.tsx",
                "--bundle",
                "--minify",
                "--outfile=page.js",
                "--log-level=error",
                '--define:process.env.NODE_ENV="production"',
                "--define:global=window",
                "--loader:.ttf=dataurl",
                "--loader:.svg=dataurl",
                "--loader:.woff2=dataurl",
                # the modules of @grafana/ui 12.0.2 lack some of their own exports
                "--alias:@grafana/ui=./node_modules/@grafana/ui/dist/cjs/index.cjs",
            ],
            cwd=folder,
            check=True,
        )
    return made


def _draw(asked: dict[str, Any], program: Path, output: Path, size: tuple[int, int]) -> str:
    """Take the picture; what the page says of itself."""
    data = json.dumps(asked).replace("</", "<\\/")
    with tempfile.TemporaryDirectory() as made:
        page = Path(made, "page.html")
        page.write_text(
            f'<!doctype html><meta charset="utf-8"><div id="root"></div>'
            f'<link rel="stylesheet" href="{html.escape(program.with_suffix(".css").as_uri())}">'
            "<style>button{color:inherit;background:none;border:0;font:inherit}</style>"
            f"<script>window.ASKED={data}</script>"
            f'<script src="{html.escape(program.as_uri())}"></script>'
        )
        command = [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            f"--user-data-dir={made}/profile",
            f"--window-size={size[0]},{size[1]}",
            "--virtual-time-budget=10000",
            page.as_uri(),
        ]
        subprocess.run(
            [*command[:-1], f"--screenshot={output}", command[-1]], check=True, capture_output=True
        )
        dumped = subprocess.run(
            [*command[:-1], "--dump-dom", command[-1]], check=True, capture_output=True, text=True
        ).stdout
    title = dumped.partition("<title>")[2].partition("</title>")[0]
    if not title:
        sys.exit("error: the page did not come to its end")
    return html.unescape(title)


if __name__ == "__main__":
    sys.exit(main())
