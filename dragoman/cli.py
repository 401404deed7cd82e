"""The command line: a dict of commands; a function's signature is its interface."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from dragoman.errors import DragomanError, FileError, SettingsError, did_you_mean

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


def evaluate(run: str, split: str = "test", device: str = "auto") -> None:
    """Score a run beside the baselines and write scores.json.

    Args:
        run: the run folder
        split: train, val or test
        device: auto, cpu, cuda or cuda:N
    """
    from dragoman.evaluation import evaluate
    from dragoman.judge import table

    print(table(evaluate(run, split, device=device)))


def report(run: str) -> None:
    """Write a run's report.html again.

    Args:
        run: the run folder
    """
    from dragoman.report.report import write_report
    from dragoman.run import Run

    print(write_report(Run.open(run).folder))


def translate(run: str, source: str, out: str, seed: int = 0, device: str = "auto") -> None:
    """Translate a picture or a folder of pictures: dragoman translate RUN IN OUT

    Args:
        run: a run, a saved translator or a Hub repository
        source: a picture or a folder of pictures
        out: a file or, for a folder, a folder
        seed: of the system's noise
        device: auto, cpu, cuda or cuda:N
    """
    from dragoman.translation import translate

    print(translate(run, Path(source), Path(out), seed=seed, device=device))


def datasets() -> None:
    """List the data sets that are embedded."""
    from dragoman.data.listing import list_datasets

    print(list_datasets())


def preview(data: str, out: str = "preview.png", rows: int = 8, size: int | None = None) -> None:
    """Write a contact sheet of a data set: dragoman preview DATA --out preview.png

    Args:
        data: as for train, such as earth64:relief,satellite
        out: the PNG to write
        rows: rows of pairs on the sheet
        size: side of the pictures in px
    """
    from dragoman.data import open_data
    from dragoman.data.listing import preview
    from dragoman.data.settings import DataSettings
    from dragoman.settings import build

    if not 1 <= rows <= MOST_ROWS:
        raise SettingsError(f"--rows must be from 1 to {MOST_ROWS}, got {rows}")
    opened = open_data(build(DataSettings, {"data": data, "size": size}))
    opened.check()
    sheet = preview(opened, rows)
    try:
        sheet.save(out)
    except (OSError, ValueError) as error:
        raise FileError(
            f"cannot write --out {out}: {error}; name a .png in a folder that exists"
        ) from error
    print(f"wrote {out}")


def systems() -> None:
    """List the systems that can be trained."""
    from dragoman.systems import SYSTEMS, find_system

    for name in SYSTEMS:
        print(f"{name:16s}{(find_system(name).__doc__ or '').strip().splitlines()[0]}")


COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "resume": resume,
    "evaluate": evaluate,
    "report": report,
    "translate": translate,
    "datasets": datasets,
    "systems": systems,
    "preview": preview,
}


def main(argv: list[str] | None = None) -> NoReturn:
    """Run one command; exits with 0, with 2 after a user's error, with 130 or 143 after a stop."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        _dispatch(argv)
    except DragomanError as error:
        print(f"dragoman: {error}", file=sys.stderr)
        signal_number = getattr(error, "signal_number", None)
        sys.exit(2 if signal_number is None else 128 + signal_number)
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
        lines.append(f"  {name:11s}{(command.__doc__ or '').strip().splitlines()[0]}")
    lines += ["", "'dragoman COMMAND --help' says more"]
    return "\n".join(lines)


def _arguments(name: str, arguments: list[str]) -> dict[str, Any]:
    """Parse a command's arguments by its signature."""
    from dragoman.settings import signature_parser

    parser = signature_parser(COMMANDS[name], f"dragoman {name}")
    return parser.parse_args(arguments).as_dict()


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
