"""The page: one HTML file with everything in it, which opens without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ant_rl_tools.report.charts import POINTS, Chart
from ant_rl_tools.report.tables import Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 0 auto; padding: 0 1em 4em; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { border-bottom: 1px solid #ccc; margin-top: 2em; }
h3 { margin-bottom: 0; } p { margin: 0.3em 0; color: #444; } nav a { margin-right: 1em; } a { color: #0072B2; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 0.15em 0.8em; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } th { font-weight: 600; }
@media (max-width: 700px) { th, td { white-space: normal; padding: 0.15em 0.4em; } }
.absent { font-style: italic; }
"""
# Named one by one: plotly's own set has a button that sends the chart to a server.
_CONFIG = {"responsive": True, "displaylogo": False,
           "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]]}


def page(title: str, figures: Table, sections: Mapping[str, Sequence[Chart]],
         tables: Mapping[str, tuple[Table, str]]) -> str:
    """The whole page.

    Args:
        title: names of the runs.
        figures: the table at the head.
        sections: charts by the title of their section.
        tables: what comes after the charts of a section: a table and a sentence below it, which may be empty.
    """
    parts = [
        "<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>", f"<script>{get_plotlyjs()}</script></head><body>",
        f"<h1>{escape(title)}</h1>", "<noscript>The charts need JavaScript.</noscript>",
        f"<p>Drag to zoom, double-click to see all, click on a name to hide it. Lines of more than {POINTS:,} points "
        "are drawn with the lowest and the highest value of each stretch, so that no spike is lost; of several robots, "
        "what each tick tells is of the first.</p>",
        "<nav>" + "".join(f'<a href="#{_id(name)}">{escape(name)}</a>' for name in sections) + "</nav>",
        _table(figures),
        "<p>Round trips are measured by the environment, with one clock: of each second's p50 (p99) the median, "
        "weighted by ticks. Observation to torques and inference are of all ticks.</p>"]
    for name, charts in sections.items():
        parts.append(f'<h2 id="{_id(name)}">{escape(name)}</h2>')
        parts += [_chart(chart) for chart in charts]
        if name in tables:
            table, sentence = tables[name]
            parts.append(f"{_table(table)}<p>{escape(sentence)}</p>")
    return "\n".join([*parts, "</body></html>", ""])


def _chart(chart: Chart) -> str:
    head = f"<h3>{escape(chart.title)}</h3>"
    if chart.figure is None:
        return f'{head}<p class="absent">{escape(chart.absent)}</p>'
    drawing = _escaped(chart.figure).to_html(full_html=False, include_plotlyjs=False, div_id=chart.key, config=_CONFIG,
                                             default_height=f"{chart.figure.layout.height}px")
    return f"{head}<p>{escape(chart.sentence)}</p>{drawing}"


def _escaped(figure: go.Figure) -> go.Figure:
    """The figure with names that plotly shows as they are: it takes some HTML in them."""
    figure.for_each_trace(lambda trace: trace.update(name=escape(trace.name)) if trace.name else None)
    figure.for_each_annotation(lambda annotation: annotation.update(text=escape(annotation.text)))
    return figure


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _id(name: str) -> str:
    return name.lower().replace(" ", "-")
