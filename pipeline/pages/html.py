"""The frame of every page: one self-contained HTML file with a light and a dark theme."""

from html import escape

# Okabe and Ito's colours, some lighter: distinct for the colour-blind, readable under black text.
COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "#2BB38A", "#E8702A")

STYLE = """
:root{color-scheme:light dark;
--page:#f4f4f2;--card:#fff;--ink:#1b1b1b;--soft:#636363;--line:#dcdcd8}
@media(prefers-color-scheme:dark){
:root{--page:#161718;--card:#212325;--ink:#ececea;--soft:#a6a8aa;--line:#3a3d40}}
*{box-sizing:border-box}p,dl,dd,figure{margin:0}a{color:inherit}
img{outline:1px solid var(--line)}
body{margin:0 auto;padding:24px 20px 48px;max-width:1400px;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI",Roboto,"Noto Sans",sans-serif;overflow-wrap:anywhere}
h1{margin:0;font-size:24px;line-height:1.25}h2{font-size:17px;margin:32px 0 6px}
.soft,dt,figcaption{color:var(--soft)}figcaption b,.settings b{color:var(--ink)}
dl,.charts{display:flex;flex-wrap:wrap;gap:10px 26px;margin:16px 0}
.charts{gap:14px}dt{font-size:14px}
.number{font-size:21px;font-weight:600;line-height:1.2}
.chart,article{background:var(--card);border:1px solid var(--line);border-radius:8px}
.chart{padding:10px 12px;flex:0 1 264px}
.chart svg{display:block;width:100%;margin-top:4px}.chart rect{fill:#3f86b8}
.chart text{fill:var(--soft);font-size:11px;text-anchor:middle}.chart path{stroke:var(--line)}
.cards{columns:600px 2;column-gap:16px;margin-top:14px}
article{padding:12px 16px 16px;margin-bottom:16px;break-inside:avoid}
.id{display:flex;justify-content:space-between;gap:12px;font-size:13px}
.text{font-size:17px;line-height:1.65;margin:2px 0 4px}.also{font-size:14px;line-height:1.8}
mark{background:var(--c);color:#000;border-radius:3px;padding:1px 5px;
-webkit-box-decoration-break:clone;box-decoration-break:clone}
.n{background:#000;color:var(--c);border-radius:3px;padding:0 5px;font-size:12px;font-weight:700}
mark .n{margin-inline:5px -2px}
.lost{text-decoration:underline 3px #8d8d8d;text-underline-offset:4px}
.why{border-left:4px solid #8d8d8d;padding:2px 0 2px 10px;margin:8px 0 2px}
.says{font-size:14px;margin:8px 0 2px}
.says::before{content:"Picture text: ";color:var(--soft)}
.heat{border-collapse:collapse;font-size:13px;margin:10px 0 2px}
.heat caption{text-align:left;color:var(--soft);padding-bottom:2px}
.heat th{font-weight:400;padding:1px 6px;text-align:right}
.heat tr:first-child th{white-space:nowrap}
.heat th:first-child{padding-left:0;text-align:left}
.heat td{padding:1px 6px;text-align:right;font-variant-numeric:tabular-nums;
background:color-mix(in srgb,#3f86b8 var(--v,0%),transparent)}
.heats{display:flex;flex-wrap:wrap;gap:0 26px;align-items:flex-start;overflow-x:auto}
.reading~.look .picture{max-width:min(100%,400px)}
.reading{border-left:3px solid var(--line);padding-left:10px;margin:8px 0}
.reading h3{margin:0;font-size:13px;font-weight:600;color:var(--soft)}
.reading ul{list-style:none;margin:0;padding:0}
.counts{border-collapse:collapse;margin:14px 0}
.counts th,.counts td{padding:2px 22px 2px 0;text-align:left;font-weight:400}
.counts td{font-weight:600}
.answers{border-collapse:collapse;margin:10px 0 4px;font-size:14px}
.answers th{font-weight:400;text-align:left;vertical-align:top;padding:2px 14px 2px 0;
white-space:nowrap}
.answers td{padding:2px 0;line-height:1.7}
.look{display:flex;gap:16px;align-items:flex-start;margin-top:10px}
.picture{position:relative;line-height:0;max-width:100%}.picture>img{width:100%;height:auto}
.picture svg{position:absolute;inset:0;width:100%;height:100%}
.picture rect{vector-effect:non-scaling-stroke}
.halo,.box{fill:none;stroke:var(--c);stroke-width:3px}.halo{stroke:#000a;stroke-width:6px}
.picture svg:only-child{position:static;display:block;height:auto}
.figure{overflow-x:auto;margin:12px 0}.figure svg{display:block}
.posts{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:10px 20px}
.posts>div{display:flex;gap:10px;font-size:13px;line-height:1.4}
.posts img{flex:none;width:72px;height:72px;object-fit:cover}
.parts{display:grid;grid-template-columns:repeat(auto-fill,minmax(78px,130px));gap:8px;
margin:4px 0 12px}
.parts h3{grid-column:1/-1;margin:0;font-size:14px;font-weight:400}
.part{display:block;width:100%;height:auto;outline:1px solid var(--line)}
.part rect{fill:#d4380d;stroke:#fff8;stroke-width:1px;vector-effect:non-scaling-stroke}
.part text{fill:#fff;stroke:#000;paint-order:stroke;text-anchor:middle;font-weight:600}
.tag{fill:var(--c)}.tag-n{fill:#000}.picture text{font-weight:600;
font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace}
.picture tspan{fill:var(--c)}
.crops{display:flex;flex-direction:column;gap:12px;flex:0 0 160px}
.crops img{display:block;max-width:100%;height:auto}
figcaption{font-size:13px;line-height:1.4;margin-top:4px}
.wide{overflow-x:auto;margin:8px 0 4px}
.rows{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}
.rows th,.rows td{padding:3px 16px 3px 0;text-align:right;white-space:nowrap;font-weight:400}
.rows th:first-child{text-align:left}.rows tr:first-child th{color:var(--soft);
border-bottom:1px solid var(--line)}
.drawn{background:#fff;color:#000;border:1px solid var(--line);border-radius:8px;padding:10px;
margin:10px 0;width:fit-content;max-width:100%;overflow-x:auto}
.drawn svg{display:block;max-width:100%;height:auto}.drawn figcaption{color:#555}
pre{white-space:pre-wrap;font-size:12px}.about td{white-space:normal;text-align:left}
summary{cursor:pointer;color:var(--soft);margin:6px 0}
@media(max-width:640px){.drawn svg{max-width:none;width:460px}
body{padding:14px 10px 32px}article{padding:10px 12px 12px}
.look{flex-direction:column}.crops{flex:none;display:grid;grid-template-columns:repeat(3,1fr)}}
@media print{*{print-color-adjust:exact}details::details-content{content-visibility:visible}
body{padding:0}
.heat,.figure,.posts>div,.parts{break-inside:avoid}}
"""


def as_words(name: object) -> str:
    """Show an identifier as words, escaped for HTML."""
    return escape(str(name).replace("_", " "))


def as_number(value: object) -> str:
    """Show a value, escaped for HTML; integers get thousands separators."""
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def whole_page(title: str, header: str, body: str) -> str:
    """Return a whole page.

    title: plain text.
    header: HTML below the title.
    body: HTML.
    """
    colours = "".join(f".c{n}{{--c:{colour}}}" for n, colour in enumerate(COLOURS))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy"
content="default-src 'none';img-src data:;style-src 'unsafe-inline'">
<title>{escape(title)}</title><style>{STYLE}{colours}</style></head>
<body><header><h1 dir="auto">{escape(title)}</h1>
{header}</header>
{body}</body></html>
"""
