"""A page in headless Chromium: its script errors, what it asked the network for, and what its charts have drawn."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "setup"))  # a program, no package

from prerequisites import BROWSERS  # noqa: E402

MISSING = ("no Chromium is installed, so no page was opened: as root on Debian, apt-get install "
           "--no-install-recommends chromium")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
          "--disable-background-networking", "--disable-component-update", "--disable-sync",
          "--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars")

# Before anything of the page runs.
_BEGIN = """<script>
window.problems = [];
addEventListener("error", event => problems.push(String(event.message || event.target.outerHTML)), true);
addEventListener("unhandledrejection", event => problems.push(String(event.reason)));
for (const kind of ["error", "warn"])
    console[kind] = (...words) => problems.push(kind + ": " + words.join(" "));
</script>"""
# Once everything has run: the page is replaced by what is to be known of it. Time is the browser's own, which waits
# for nothing, so the second costs none.
_END = """<script>
addEventListener("load", () => setTimeout(() => {
    const traces = chart => (chart._fullData || []).map((trace, i) => {
        const drawn = [...chart.querySelectorAll(trace.type === "bar" ? ".barlayer .trace" : ".scatterlayer .trace")]
            .filter(group => group.__data__[0].trace.index === i)
            .flatMap(group => [...group.querySelectorAll("path")])
            .filter(path => (path.getAttribute("d") || "").length > 4).length;
        const rows = Array.from(trace.y).map((y, k) => [trace.x[k], y]).filter(row => Number.isFinite(row[1]));
        const axis = Number((trace.yaxis || "y").slice(1) || 1) - 1;
        const title = ((chart._fullLayout.annotations || [])[axis] || {}).text || "";
        return {panel: title.split(",")[0], name: trace.name, type: trace.type, drawn,
                x: rows.map(row => row[0]), y: rows.map(row => row[1])};
    });
    const charts = {};
    for (const chart of document.querySelectorAll(".plotly-graph-div")) charts[chart.id] = traces(chart);
    const buttons = [...document.querySelectorAll(".modebar-btn")].map(button => button.dataset.title);
    const found = {problems, charts, buttons: [...new Set(buttons)],
                   requests: performance.getEntriesByType("resource").map(entry => entry.name),
                   overflow: document.documentElement.scrollWidth - innerWidth, text: document.body.innerText};
    const result = document.createElement("pre");
    result.id = "found";
    result.textContent = JSON.stringify(found);
    document.head.replaceChildren();
    document.body.replaceChildren(result);
}, 1000));
</script>"""


def find() -> str:
    """The browser's program, empty where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), "")


def opened(page: Path, folder: Path, width: int = 1100) -> dict[str, Any]:
    """What is found in a page once it is drawn in a window of `width` px; Chromium makes none below 500.

    Args:
        page: HTML file; it is not changed.
        folder: where a copy of it and the browser's profile may lie.

    Returns:
        problems: script errors and what was said on the console.
        charts: for each chart's id its traces: panel (to the first comma), name, type, x and y of the finite points,
            number of shapes drawn.
        buttons: titles of the charts' buttons.
        requests: addresses that were asked for.
        overflow: how far the page is wider than the window [px].
        text: that a reader sees.
    """
    text = page.read_text()
    assert text.count("<head>") == 1 and text.count("</body></html>") == 1
    copy = folder / "opened.html"
    copy.write_text(text.replace("<head>", "<head>" + _BEGIN).replace("</body></html>", _END + "</body></html>"))
    done = subprocess.run(
        [find(), *_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900",
         "--virtual-time-budget=30000", "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page did not come to its end: {done.stdout[-1000:]} {done.stderr[-2000:]}"
    return json.loads(html.unescape(found[1]))
