"""The page of all dashboards: one HTML document that needs no network. Pure."""

from collections.abc import Mapping, Sequence
from html import escape

from emulator.dashboard.data import Shown
from emulator.dashboard.draw import widget_html

_STYLE = """
body{font:13px/1.4 system-ui,sans-serif;margin:0;background:#f2f3f3;color:#16191f}
header{background:#232f3e;color:#fff;padding:8px 16px;display:flex;gap:18px;align-items:baseline}
header a{color:#cfd8e3;text-decoration:none}header a.here{color:#fff;font-weight:700;border-bottom:2px solid #ff9900}
header small{margin-left:auto;color:#9aa7b5}
main{display:grid;grid-template-columns:repeat(24,1fr);grid-auto-rows:34px;gap:8px;padding:12px}
section{background:#fff;border:1px solid #d5dbdb;border-radius:3px;padding:6px 10px;overflow:auto;min-width:0}
section.metric,section.number{overflow:hidden;display:flex;flex-direction:column}
section h3{margin:0 0 4px;font-size:13px}section svg text{font:9px sans-serif;fill:#687078}
section.metric svg{width:100%;flex:1;min-height:0}
.grid{stroke:#eaeded}.threshold{stroke:#d13212;stroke-dasharray:4 3}
.legend{font-size:11px;display:flex;flex-wrap:wrap;gap:2px 12px}
.legend i{display:inline-block;width:9px;height:9px;margin-right:4px}
.unit{margin-left:auto;color:#687078}.note{color:#687078;font-style:italic}
.alarms{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:6px}
.state{padding:4px 8px;border-left:5px solid #879596;background:#f8f8f8;font-size:12px}
.state.ok{border-color:#1d8102}.state.alarm{border-color:#d13212;background:#fdf3f1;font-weight:700}
.state small{color:#687078}
.figures{display:flex;gap:24px;align-items:baseline}.figure b{font-size:26px}
"""
# Draws itself anew from the server; a saved page has no server and stays as it is.
_REFRESH = """
setInterval(async () => {
  try {
    const text = await (await fetch(location.href)).text();
    const next = new DOMParser().parseFromString(text, "text/html");
    document.querySelector("main").replaceWith(next.querySelector("main"));
    document.querySelector("small").replaceWith(next.querySelector("small"));
  } catch (gone) { document.querySelector("small").textContent = "the embedded cloud has ended; its last state"; }
}, 5000);
"""


def page(name: str, names: Sequence[str], shown: Sequence[Shown], *, told: str, links: Mapping[str, str]) -> str:
    """The dashboard `name` with its widgets `shown`, and links to the others of `names`.

    `told` is a line beside the links: where the data are from. `links` has addresses by name; where it has none, the
    page is a saved one and does not refresh.
    """
    tabs = "".join(
        f'<a class="{"here" if other == name else ""}" href="{escape(links.get(other, other + ".html"))}">'
        f"{escape(other)}</a>"
        for other in names
    )
    widgets = "".join(widget_html(one) for one in shown)
    script = f"<script>{_REFRESH}</script>" if links else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Treeline: {escape(name)}</title>'
        f"<style>{_STYLE}</style></head><body><header><b>Treeline</b>{tabs}<small>{escape(told)}</small></header>"
        f"<main>{widgets}</main>{script}</body></html>"
    )


def nothing_deployed() -> str:
    """What stands there before a deploy."""
    return "<!doctype html><title>Treeline</title><p>No dashboard is deployed here yet.</p>"
