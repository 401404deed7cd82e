"""The one page of a report: its style, and how pictures are put into it."""

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from dragoman.report.sheet import as_rgb, enlarge, fitting

LOSSLESS_PIXELS = 400_000  # of one column; larger ones are compressed with a little loss

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2128;--soft:#5b6470;--line:#d9dee4;
--wash:#f5f7f9;--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b0568f;--c4:#b58900;--c5:#3b9fd6;
--c6:#6a4fb3;--c7:#5b6470}
@media screen and (prefers-color-scheme:dark){
:root{--paper:#14171b;--ink:#e6e9ed;--soft:#9aa4b0;--line:#333a43;
--wash:#1d2228;--c0:#4ba3e3;--c1:#f08a4b;--c2:#35c79a;--c3:#dc8fc0;--c4:#e0b93a;
--c5:#86c9f0;--c6:#a896e8;--c7:#9aa4b0}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1.5rem 1rem 4rem;background:var(--paper);
color:var(--ink);font:16px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.5rem 0 .6rem;padding-top:.9rem;border-top:1px solid var(--line)}
p{margin:.4rem 0;max-width:46rem;overflow-wrap:anywhere}
small,.soft{color:var(--soft)}
.missing{background:var(--wash);border-left:4px solid var(--c4);padding:.5rem .8rem}
code,pre{font:.9em/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--wash);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;
white-space:pre-wrap;overflow-wrap:anywhere;margin:.5rem 0}
.facts{display:flex;flex-wrap:wrap;gap:.4rem 2rem;margin:1rem 0 0;padding:0}
.facts div{min-width:6rem}.facts dt{color:var(--soft);font-size:.8rem}
.facts dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.tiles{display:grid;grid-auto-flow:column;grid-auto-columns:minmax(5.5rem,10rem);gap:.25rem;
overflow-x:auto;padding-bottom:.4rem}
.tiles figure{margin:0}.tiles figcaption{font-size:.8rem;color:var(--soft);text-align:center;
white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.tiles img{display:block;width:100%;height:auto;image-rendering:pixelated}
.tiles figure:first-child{position:sticky;left:0;background:var(--paper)}
.pair{display:flex;flex-wrap:wrap;gap:1.2rem}
.pair .tiles{flex:1 1 21rem;grid-auto-columns:minmax(0,14rem)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:1.5rem}
.chart{margin:0;break-inside:avoid}.chart figcaption{font-weight:600}
.chart figcaption small{font-weight:400}
.chart>svg{width:100%;height:auto;display:block}
.chart text{font-size:13px;fill:var(--soft)}
.grid{stroke:var(--line)}.axis{stroke:var(--soft)}.mark{stroke:var(--soft);stroke-dasharray:2 4}
polyline,.key line{fill:none;stroke-width:2;stroke-linejoin:round}
.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}
.c4{stroke:var(--c4)}.c5{stroke:var(--c5)}.c6{stroke:var(--c6)}.c7{stroke:var(--c7)}
.dashed{stroke-dasharray:6 4}.dot{stroke-width:3;fill:none}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;margin:.2rem 0 0;padding:0;
font-size:.875rem}.key{width:22px;height:8px;margin-right:.35rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.35rem .8rem;border-bottom:1px solid var(--line);vertical-align:top}
th:first-child,td:first-child{text-align:left;padding-left:.4rem}
thead th{font-size:.875rem;color:var(--soft);font-weight:600}
th small,td small{display:block;font-weight:400;white-space:nowrap}
.ours td,.ours th{background:var(--wash)}
.best{font-weight:700}.best::after{content:" ★";font-size:.75em;color:var(--c4)}
.settings{columns:19rem;column-gap:2rem;margin:0}
.settings div{display:flex;gap:1rem;justify-content:space-between;break-inside:avoid;
border-bottom:1px solid var(--line);padding:.15rem 0}
.settings dt{color:var(--soft)}.settings dd{margin:0;text-align:right;overflow-wrap:anywhere}
@media(max-width:30rem){body{font-size:15px}h1{font-size:1.4rem}.pair .tiles{flex-basis:100%}
th,td{padding:.3rem .5rem}}
@media print{body{max-width:none;padding:0;font-size:11pt}h2{break-after:avoid}
.charts{grid-template-columns:1fr 1fr}
.tiles{grid-auto-columns:minmax(0,1fr);overflow:visible;break-inside:avoid}
.tiles figure:first-child{position:static}.pair .tiles{grid-auto-columns:minmax(0,10rem)}
img,.ours td,.ours th,.missing,pre{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""

# The page asks for nothing outside itself, and a browser is told to keep it so.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, sections: list[str]) -> str:
    """Return a whole HTML page; the title is escaped, the sections are HTML already."""
    body = "\n".join(section for section in sections if section)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n</main>\n</body>\n</html>\n"
    )


def tiles(columns: dict[str, np.ndarray], side: int) -> str:
    """Return columns of pictures, uint8 [N, H, W, 3], side by side under their captions.

    Pictures larger than `side` px are shrunk to it.
    """
    columns = {name: shrink(as_rgb(name, stack), side) for name, stack in columns.items()}
    sizes = fitting(list(columns.values()), scale=1)
    parts = []
    for (name, stack), (height, width) in zip(columns.items(), sizes, strict=True):
        picture = strip(enlarge(stack, height, width))
        parts.append(
            f"<figure><figcaption>{escape(name)}</figcaption>"
            f'<img src="{data_url(picture)}" width="{picture.width}" height="{picture.height}" '
            f'alt="{len(stack)} pictures, {escape(name)}"></figure>'
        )
    return f'<div class="tiles">{"".join(parts)}</div>'


def shrink(pictures: np.ndarray, side: int) -> np.ndarray:
    """Return pictures [N, H, W, 3] whose longer side is at most `side` px."""
    longest = max(pictures.shape[1:3])
    if longest <= side:
        return pictures
    size = [max(1, round(length * side / longest)) for length in (pictures.shape[2:0:-1])]
    small = [Image.fromarray(np.ascontiguousarray(p)).resize((size[0], size[1])) for p in pictures]
    return np.stack([np.asarray(picture) for picture in small])


def strip(pictures: np.ndarray) -> Image.Image:
    """Return pictures [N, H, W, 3] under each other with clear gaps between them."""
    count, height, width, _ = pictures.shape
    gap = max(1, height // 32)
    canvas = np.zeros((count * (height + gap) - gap, width, 4), np.uint8)
    for i, picture in enumerate(pictures):
        top = i * (height + gap)
        canvas[top : top + height, :, :3] = picture
        canvas[top : top + height, :, 3] = 255
    return Image.fromarray(canvas)


def data_url(picture: Image.Image) -> str:
    """Return a picture as a data: address (WebP)."""
    lossless = picture.width * picture.height <= LOSSLESS_PIXELS
    stream = io.BytesIO()
    picture.save(stream, "WEBP", lossless=lossless, quality=70 if lossless else 90, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
