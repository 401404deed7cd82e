"""Makes report.html: what a run trained, painted, scored and cost, in one file without requests."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from dragoman.errors import FileError
from dragoman.journal import duration
from dragoman.report.charts import chart
from dragoman.report.folder import Curves, brief, read_curves, read_mapping
from dragoman.report.page import page, tiles
from dragoman.report.samples import Samples, read_samples, saved_steps
from dragoman.report.scoreboard import LABELS, OURS, Scoreboard, finite, mapping, scoreboard
from dragoman.report.sheet import chosen, moments

MOST_EXAMPLES = 16  # rows of a sheet in the report
SIDE_OVER_TIME, SIDE_FINAL = 256, 512  # px; larger pictures are shown smaller

T = TypeVar("T")


@dataclass
class Found:
    """What could be read of a run folder, and as HTML what could not and how it is made."""

    settings: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    curves: Curves = field(default_factory=Curves)
    samples: Samples = field(default_factory=Samples)
    scores: Scoreboard | None = None
    missing: dict[str, str] = field(default_factory=dict)

    def read(self, kind: str, read: Callable[[], T], empty: T, file: str, remedy: str) -> T:
        """Return what `read` returns; if the file is missing or damaged note it and the remedy."""
        try:
            return read()
        except FileError as error:
            name = f"<code>{escape(file)}</code> " if file else ""
            self.missing[kind] = f'<p class="missing">{name}{escape(str(error))}. {remedy}</p>'
            return empty


def write_report(folder: Path) -> Path:
    """Make report.html from the files of a run folder and return its path.

    Missing or damaged files become sentences that say which command makes them. Raises FileError
    if the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError(f"there is no run folder {folder}; give one that 'dragoman train' made")
    found = gather(folder)
    say = found.missing
    sections = [
        heading(found),
        section("Samples over time", say.get("samples") or samples_over_time(found.samples)),
        section("Final samples", final_samples(found.samples)),
        section("Scores", say.get("scores") or score_table(found.scores)),
        section("Losses", say.get("losses") or loss_charts(found.curves)),
        section("Validation scores over time", val_charts(found.curves)),
        section("Settings", say.get("settings") or settings_list(found.settings)),
        section("Repeat this run", say.get("run") or repeat(found.run)),
        section("Credits and licences", credits_of(found.run)),
    ]
    path = folder / "report.html"
    temporary = folder / f".report.{os.getpid()}.tmp"
    temporary.write_text(page(run_title(found), sections), encoding="utf-8")
    temporary.replace(path)
    return path


def gather(folder: Path) -> Found:
    """Read every file of the run folder that can be read."""
    name = escape(quote(str(folder)))
    train = "Training writes it from the start: <code>dragoman train</code>."
    resume = f"Going on with the training writes it: <code>dragoman resume {name}</code>."
    evaluate = f"This command makes it: <code>dragoman evaluate {name}</code>."
    found, none = Found(), dict[str, Any]()

    def load(file: str) -> dict[str, Any]:
        return read_mapping(folder / file)

    found.settings = found.read(
        "settings", lambda: load("settings.yaml"), none, "settings.yaml", train
    )
    found.run = found.read("run", lambda: load("run.json"), none, "run.json", resume)
    found.curves = found.read(
        "losses", lambda: read_curves(folder), Curves(), "losses.jsonl", resume
    )
    found.samples = found.read("samples", lambda: some_samples(folder), Samples(), "", resume)
    found.scores = found.read(
        "scores", lambda: scoreboard(load("scores.json")), None, "scores.json", evaluate
    )
    return found


def some_samples(folder: Path) -> Samples:
    """Read the samples that the report shows; raises FileError if there are none."""
    steps = saved_steps(folder)
    if not steps:
        raise FileError("no sample pictures were saved")
    found = read_samples(folder, chosen(steps))

    def few(stack: Any) -> Any:
        return None if stack is None else stack[:MOST_EXAMPLES]

    outputs = {step: few(stack) for step, stack in found.outputs.items()}
    return Samples(few(found.inputs), few(found.truth), outputs, found.split)


def section(title: str, content: str) -> str:
    """Return a section of the page, or nothing if it has no content."""
    return f"<section>\n<h2>{title}</h2>\n{content}\n</section>" if content else ""


def run_title(found: Found) -> str:
    """Return "pix2pix on earth64:relief,satellite" as far as it is known."""
    system = brief(found.settings.get("system", "A run of an unknown system"))
    data = found.settings.get("data")
    return system if data is None else f"{system} on {brief(data)}"


def heading(found: Found) -> str:
    """Return the title and the facts of the run."""
    run, curves = found.run, found.curves
    steps = finite(run.get("steps")) or curves.step
    seconds = finite(run.get("training_seconds")) or curves.seconds
    speeds = sorted(curves.speeds)
    parameters, best = run.get("parameters"), mapping(run.get("best"))
    facts = {
        "Steps": f"{steps:,.0f}" if steps else "",
        "Training time": f"{duration(seconds)} ({'h:mm:ss' if seconds >= 3600 else 'min:s'})"
        if seconds
        else "",
        "Pictures per second": f"{speeds[len(speeds) // 2]:,.0f}" if speeds else "",
        "Parameters": parameters_line(parameters) if isinstance(parameters, dict) else "",
        "Best checkpoint": best_line(best),
        "Machine": brief(run.get("machine", "")),
        "Started": brief(run.get("started", "")),
    }
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts.items()
        if value
    )
    return f'<h1>{escape(run_title(found))}</h1>\n<dl class="facts">{rows}</dl>'


def best_line(best: dict[str, Any]) -> str:
    """Return "step 3600 by lpips on val", as far as it is known."""
    if finite(best.get("step")) is None:
        return ""
    by = f" by {brief(best['by'])} on val" if best.get("by") else ""
    return f"step {finite(best['step']):,.0f}{by}"


def parameters_line(parameters: dict[str, Any]) -> str:
    """Return "generator 3.0 M, discriminator 2.8 M"."""
    counts = {name: finite(count) for name, count in list(parameters.items())[:20]}
    return ", ".join(
        f"{name} {count / 1e6:.2f} M" if count >= 1e5 else f"{name} {count:,.0f}"
        for name, count in counts.items()
        if count is not None
    )


def samples_over_time(samples: Samples) -> str:
    """Return the sheet of the run over time: input, outputs, truth."""
    columns = moments(samples.inputs, samples.outputs, samples.truth)
    split = f" of the {escape(samples.split)} split" if samples.split else ""
    count = len(next(iter(columns.values())))
    text = f'<p class="soft">The same {count} examples{split} while the training went on.</p>'
    return text + tiles(columns, SIDE_OVER_TIME)


def final_samples(samples: Samples) -> str:
    """Return the last samples, large, in two groups that stand side by side if there is room."""
    if not samples.outputs:
        return ""
    step = max(samples.outputs)
    columns = {"input": samples.inputs, f"step {step}": samples.outputs[step]}
    columns |= {"truth": samples.truth}
    present = {name: stack for name, stack in columns.items() if stack is not None}
    count = len(samples.outputs[step])
    middle = (count + 1) // 2 if count > 2 else count
    groups = [{name: s[:middle] for name, s in present.items()}]
    if middle < count:
        groups.append({name: s[middle:] for name, s in present.items()})
    return f'<div class="pair">{"".join(tiles(group, SIDE_FINAL) for group in groups)}</div>'


def score_table(scores: Scoreboard | None) -> str:
    """Return the scores of the run beside those of the baselines."""
    if scores is None:
        return ""
    tables = [(one.way, one_table(one)) for one in (scores, *scores.others)]
    return "\n".join((f"<h3>{escape(way)}</h3>\n" if way else "") + told for way, told in tables)


def one_table(scores: Scoreboard) -> str:
    """Return the table of one direction."""
    head = "<th></th>"
    for metric in scores.metrics:
        name, better = scores.heading(metric)
        note = f"<small>{better} is better</small>" if better else ""
        head += f'<th scope="col">{escape(name)}{note}</th>'
    rows = ""
    for name in scores.rows:
        cells = f'<th scope="row">{escape(name)}</th>'
        for metric in scores.metrics:
            best = ' class="best"' if scores.best(metric) == name else ""
            mean, interval = scores.cell(name, metric)
            cells += f"<td><span{best}>{mean}</span><small>{interval}</small></td>"
        ours = ' class="ours"' if name == OURS else ""
        rows += f"<tr{ours}>{cells}</tr>\n"
    notes = [(scores.heading(metric)[0], said) for metric, said in scores.protocol.items()]
    notes += [(f"without {metric}", why) for metric, why in scores.left_out.items()]
    listed = "".join(f"<li><b>{escape(name)}</b>: {escape(said)}</li>" for name, said in notes)
    return (
        f"<p>Means over {escape(scores.count)} pictures of the {escape(scores.split)} split, and "
        "below each its 95 % interval (bootstrap over pictures). Bold with a star: the best of its "
        f"column.{''.join(f' {escape(note)}' for note in scores.notes)}</p>"
        f'\n<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody></table></div>"
        + (f'\n<ul class="soft">{listed}</ul>' if listed else "")
    )


def loss_charts(curves: Curves) -> str:
    """Return one chart of weighted loss terms for each turn."""
    marks = curves.stages if len(curves.stages) > 1 else {}
    drawn = "".join(chart(turn or "terms", terms, marks) for turn, terms in curves.turns.items())
    if not drawn:
        return '<p class="missing"><code>losses.jsonl</code> holds no line of losses yet.</p>'
    lost = ""
    if curves.lost:
        lost = f'<p class="missing">{curves.lost} values were not finite and are left out.</p>'
    return (
        '<p class="soft">One chart for each turn: its weighted terms, whose sum it minimises. '
        f'The number behind a name is the latest.</p>{lost}<div class="charts">{drawn}</div>'
    )


def val_charts(curves: Curves) -> str:
    """Return one chart for each metric that was measured while training."""
    drawn = ""
    for metric, points in curves.val.items():
        name, unit, better = LABELS.get(metric, (metric, "", ""))
        note = {"high": ", higher is better", "low": ", lower is better"}.get(better, "")
        drawn += chart(f"{name} [{unit}]{note}" if unit else f"{name}{note}", {name: points})
    return drawn and f'<div class="charts">{drawn}</div>'


def settings_list(settings: dict[str, Any]) -> str:
    """Return all settings by name."""
    rows = "".join(
        f"<div><dt>{escape(brief(name, 0))}</dt><dd>{escape(brief(value))}</dd></div>"
        for name, value in list(settings.items())[:1000]
    )
    return f'<dl class="settings">{rows}</dl>'


def repeat(run: dict[str, Any]) -> str:
    """Return the command of the run and the versions it ran with."""
    command = run.get("command")
    shown = f"<pre><code>{escape(brief(command))}</code></pre>" if command else ""
    versions = [f"{name} {brief(run[name])}" for name in ("dragoman", "torch") if run.get(name)]
    where = [f"on {brief(run['machine'])}"] if run.get("machine") else []
    if not versions and not where:
        return shown
    parts = ["with " + ", ".join(versions)] if versions else []
    return shown + f'<p class="soft">Ran {escape(", ".join(parts + where))}.</p>'


def credits_of(run: dict[str, Any]) -> str:
    """Return the credits that the run was given, a paragraph for each."""
    given = run.get("credits")
    lines = given if isinstance(given, list) else str(given).splitlines() if given else []
    return "".join(f"<p>{escape(brief(line))}</p>" for line in lines[:100] if line)
