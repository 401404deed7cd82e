"""The command line: a dict of commands; a function's signature is its interface."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from dragoman.data.settings import DataSettings
from dragoman.errors import DragomanError, FileError, SettingsError, did_you_mean
from dragoman.translating.options import Options, StyleOptions

MOST_ROWS = 1000  # of a contact sheet


def train(system: str, *arguments: str) -> None:
    """Train a system on data: dragoman train SYSTEM|RECIPE.yaml --data DATA [--knob value ...]"""
    from dragoman.training import settle_settings, train

    if "--help" in arguments or "-h" in arguments:
        settle_settings(system, {}, ["--help"])
    run = train(system, arguments=list(arguments))
    _conclude(run)


def resume(run: str, steps: int | None = None) -> None:
    """Go on with an interrupted run exactly where it was; --steps N extends it.

    Args:
        run: the run folder
        steps: train up to this many steps in all
    """
    from dragoman.training import resume

    _conclude(resume(run, steps))


def evaluate(run: str, split: str = "test", device: str = "auto", stage: str | None = None) -> None:
    """Score a run beside the baselines and write scores.json.

    Args:
        run: the run folder
        split: train, val or test
        device: auto, cpu, cuda or cuda:N
        stage: score what this stage of training had made of it instead, such as psnr
    """
    from dragoman.evaluation import evaluate
    from dragoman.judge import table

    print(table(evaluate(run, split, device=device, stage=stage)))


def interpolate(
    runs: list[str],
    alpha: float | None = None,
    out: str | None = None,
    table: bool = False,
    alphas: str | None = None,
    split: str = "test",
    device: str = "auto",
) -> None:
    """Mix two networks: dragoman interpolate RUN --alpha 0.8 --out FOLDER

    One RUN of two stages is mixed with what its first stage left; or give PSNR_RUN GAN_RUN. What
    is written loads as any translator.

    Args:
        runs: a run with stages, or two runs or translators
        alpha: the share of the second in every weight, from 0 to 1
        out: the folder to write
        table: judge networks between the two and print a table
        alphas: those of the table, as 0,0.5,1; default: in steps of 0.2
        split: of the table: train, val or test
        device: auto, cpu, cuda or cuda:N
    """
    from dragoman import interpolation

    if len(runs) > 2:
        raise SettingsError(f"name one run or two, not {len(runs)}")
    if (alpha is None) != (out is None) or (alpha is None and not (table or alphas)):
        raise SettingsError("give --alpha and --out for a translator, or --table true for scores")
    place = Path(out) if out is not None else None
    if place and place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise SettingsError(f"--out {out} is already there; name a new folder")
    first, second = runs[0], runs[1] if len(runs) > 1 else None
    if table or alphas:
        chosen = interpolation.parse_alphas(alphas) if alphas else interpolation.ALPHAS
        print(interpolation.judge_run(first, second, chosen, split, device))
    if alpha is not None and out is not None:
        made = interpolation.interpolate(*interpolation.ends(first, second, device), alpha=alpha)
        print(f"wrote {made.save(out)}")


def report(run: str) -> None:
    """Write a run's report.html again.

    Args:
        run: the run folder
    """
    from dragoman.report.report import write_report
    from dragoman.run import Run

    print(write_report(Run.open(run).folder))


def translate(run: str, source: str, out: str, **options: Options) -> None:
    """Translate pictures: dragoman translate RUN IN OUT

    What is in OUT already, and no older than its input, is left: so the same command goes on
    after a stop; another one, as with other styles, wants another folder or --again true. What
    cannot be translated is listed at the end, and the exit code is then 1. 'dragoman translate RUN
    --help' also lists what can be chosen of that translator's pictures.

    Args:
        run: a run, a saved translator or a Hub repository
        source: a file, folder, quoted 'pattern/**/*.tif', @list of paths, or IN1+IN2 to be stacked
        out: a file or, for several pictures, a folder; names and folders are kept
    """
    from dragoman.translating import translate

    print(translate(run, source, out, **options))


def styles(run: str, source: str, out: str, **options: StyleOptions) -> None:
    """Paint pictures in several styles: dragoman styles RUN IN OUT.png

    A row for each picture and domain, a column for each style, drawn or of each picture of
    --reference; with --frames the way from style to style, in a .png side by side, in a .gif or
    .apng one after another. 'dragoman styles RUN --help' also lists what can be chosen of that
    translator's pictures.

    Args:
        run: a run, a saved translator or a Hub repository
        source: a file, folder, quoted 'pattern/*.png' or @list of paths; at most 64 pictures
        out: a .png, or with --frames also a .gif or .apng
    """
    from dragoman.translating.styles import paint_styles

    print(paint_styles(run, source, out, **options))


def datasets() -> None:
    """List the data sets that are embedded."""
    from dragoman.data.listing import list_datasets

    print(list_datasets())


def preview(data: str, out: str = "preview.png", rows: int = 8, **settings: DataSettings) -> None:
    """Write a contact sheet of a data set: dragoman preview DATA --out preview.png

    Args:
        data: as for train, such as earth64:relief,satellite
        out: the PNG to write
        rows: rows of pairs on the sheet
    """
    from dragoman.data import open_data
    from dragoman.data.listing import preview
    from dragoman.settings import build

    if not 1 <= rows <= MOST_ROWS:
        raise SettingsError(f"--rows must be from 1 to {MOST_ROWS}, got {rows}")
    opened = open_data(build(DataSettings, {"data": data, **settings}))
    opened.check()
    sheet = preview(opened, rows)
    try:
        sheet.save(out)
    except (OSError, ValueError) as error:
        raise FileError(
            f"cannot write --out {out}: {error}; name a .png in a folder that exists"
        ) from error
    print(f"wrote {out}")


def check(
    data: str,
    json: str | None = None,
    limit: int = 0,
    examples: int = 5,
    **settings: DataSettings,
) -> None:
    """Look through a data set for all that is wrong or worth knowing: dragoman check DATA

    The exit code is 1 if something is found with which training would be refused, else 0.

    Args:
        data: as for train, such as a folder with trainA and trainB
        json: a file to write all findings and statistics to; - prints them instead of the text
        limit: rows of each split to examine, spread evenly; 0: all
        examples: files to name in the text for each finding
    """
    from dragoman.data import doctor
    from dragoman.data.doctor.telling import told
    from dragoman.settings import build

    for name, value in (("limit", limit), ("examples", examples)):
        if value < 0:
            raise SettingsError(f"--{name} must be at least 0, got {value}")
    findings = doctor.check(build(DataSettings, {"data": data, **settings}), limit)
    text = findings.as_json() + "\n"
    if json == "-":
        print(text, end="")
    else:
        print(told(findings, examples))
    if json not in (None, "-"):
        try:
            Path(json).write_text(text, encoding="utf-8")
        except OSError as error:
            raise FileError(f"cannot write --json {json}: {error.strerror}") from error
    if findings.verdict == "fatal":
        sys.exit(1)


def pack(
    data: str,
    out: str,
    layout: str = "auto",
    columns: str | None = None,
    labels: str | None = None,
    pairing: str = "paired",
    size: int | None = None,
    shard_megabytes: int = 256,
) -> None:
    """Write a data set as tar shards, its files unchanged: dragoman pack DATA OUT

    Args:
        data: as for train, such as a folder with trainA and trainB
        out: the folder to write; it must not exist, or be empty
        layout: as for train; auto finds out
        columns: as for train
        labels: as for train
        pairing: paired or unpaired
        size: of the pictures of an embedded set in px
        shard_megabytes: a new shard begins after so many
    """
    from dragoman.data.packing import pack_named
    from dragoman.data.settings import DataSettings
    from dragoman.settings import build

    own = {"layout": layout, "columns": columns, "labels": labels, "pairing": pairing}
    settings = build(DataSettings, {"data": data, "size": size} | own)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    print(pack_named(settings, Path(out), shard_megabytes, say))


def systems() -> None:
    """List the systems that can be trained."""
    from dragoman.systems import SYSTEMS, find_system

    for name in SYSTEMS:
        print(f"{name:24s}{(find_system(name).__doc__ or '').strip().splitlines()[0]}")


COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "resume": resume,
    "evaluate": evaluate,
    "interpolate": interpolate,
    "report": report,
    "translate": translate,
    "styles": styles,
    "datasets": datasets,
    "systems": systems,
    "preview": preview,
    "check": check,
    "pack": pack,
}


CHOOSING = {"translate": Options, "styles": StyleOptions}  # take a translator's controls besides


def main(argv: list[str] | None = None) -> NoReturn:
    """Run one command; exits with 0, with 2 after a user's error, with 130 or 143 after a stop.

    With 1 if some of many pictures could not be translated.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        _dispatch(argv)
    except DragomanError as error:
        print(f"dragoman: {error}", file=sys.stderr)
        signal_number = getattr(error, "signal_number", None)
        own = getattr(error, "exit_code", 2)
        sys.exit(own if signal_number is None else 128 + signal_number)
    except KeyboardInterrupt:
        print("dragoman: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    sys.exit(0)


def _dispatch(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return
    if argv[0] == "--version":
        from dragoman import __version__

        print(f"dragoman {__version__}")
        return
    name, arguments = argv[0], argv[1:]
    if name not in COMMANDS:
        raise SettingsError(
            f"unknown command '{name}'{did_you_mean(name, COMMANDS)}; 'dragoman --help' lists them"
        )
    command = COMMANDS[name]
    if name == "train":
        _train(arguments)
    else:
        command(**_arguments(name, arguments))


def _train(arguments: list[str]) -> None:
    """The knobs of train depend on the system, so they are parsed there."""
    if not arguments or arguments[0].startswith("-"):
        from dragoman.systems import SYSTEMS

        text = (
            f"{inspect.getdoc(train)}\n\nsystems: {', '.join(SYSTEMS)}\n"
            "'dragoman train SYSTEM --help' lists its knobs"
        )
        if arguments[:1] in (["-h"], ["--help"]):
            print(text)
            return
        raise SettingsError(
            "name a system or a recipe file first; 'dragoman train --help' says how"
        )
    train(*arguments)


def _usage() -> str:
    lines = ["usage: dragoman COMMAND ...", "", "commands:"]
    for name, command in COMMANDS.items():
        lines.append(f"  {name:12s}{(command.__doc__ or '').strip().splitlines()[0]}")
    lines += ["", "'dragoman COMMAND --help' says more"]
    return "\n".join(lines)


def _arguments(name: str, arguments: list[str]) -> dict[str, Any]:
    """Parse a command's arguments by its signature."""
    from dragoman.settings import signature_parser

    further = _controls(CHOOSING[name], arguments) if name in CHOOSING else {}
    parser = signature_parser(COMMANDS[name], f"dragoman {name}", further)
    parsed = parser.parse_args(arguments).as_dict()
    return {k: v for k, v in parsed.items() if k not in further or v != further[k].default}


def _controls(options: type, arguments: list[str]) -> dict[str, Any]:
    """The controls of the translator that is named first, as knobs; {} where there is none.

    options: what the command takes besides. Raises FileError only if some flag may be a control of
    it, SettingsError if one is a control of other systems only.
    """
    from dragoman.controls import offered
    from dragoman.saved import kind_of
    from dragoman.settings import knobs

    if not arguments or arguments[0].startswith("-"):
        return {}
    flags = {a[2:].partition("=")[0]: None for a in arguments if a.startswith("--")}
    others = [flag for flag in flags if flag not in {*knobs([options]), "help"}]
    try:
        system = kind_of(arguments[0])
    except FileError:
        if not others:
            return {}  # what else is wrong is said first
        raise
    kind = system.Controls
    if others:
        from dragoman.systems import SYSTEMS
        from dragoman.translating.known import check_foreign

        name = next(name for name, own in SYSTEMS.items() if own == system.__name__)
        check_foreign(name, kind, others)
    return {name: one for name, one in knobs([kind]).items() if name in offered(kind)}


def _conclude(run: Any) -> None:
    """The last lines of a training: scores beside the baselines, and where the report is."""
    from dragoman import processes
    from dragoman.judge import table

    if processes.rank():
        return
    if (run.folder / "scores.json").exists():
        print(table(run.scores))
    print(f"report: {run.folder / 'report.html'}")


if __name__ == "__main__":
    main()
