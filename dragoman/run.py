"""The run folder: where everything of one training lies, and what of it is kept."""

import json
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dragoman import checkpoint
from dragoman.errors import FileError, SettingsError, did_you_mean
from dragoman.settings import knob, read_yaml

MOST_BYTES = 1 << 24  # of a JSON file that is read


@dataclass(frozen=True)
class RunSettings:
    """Where a run lies and how often it saves, judges and shows itself."""

    folder: str | None = knob(None, "the run folder; default: runs/SYSTEM-DATA-TIME")
    checkpoint_every: int | None = knob(
        None, "steps between checkpoints, each judged on val; default: an eighth of the run", 1
    )
    keep: int = knob(3, "latest checkpoints that are kept, beside the best", 1)
    sample_every: int | None = knob(
        None, "steps between sample sheets; default: an eighth of the run", 1
    )
    log_every: int = knob(10, "steps over which the journal's lines average", 1)
    tensorboard: bool | None = knob(
        None, "also write TensorBoard files; default: if it is installed (extra: track)"
    )
    live: bool = knob(True, "show progress while training")


class Run:
    """One training's folder: settings, journal, samples, checkpoints, scores, translator."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """Open an existing run; raises FileError if the folder is none."""
        run = cls(folder)
        if run.folder.exists() and not run.folder.is_dir():
            raise FileError(f"{folder} is a file; name the folder of a run")
        if not run.folder.is_dir():
            parent = run.folder.parent
            names = [p.name for p in parent.iterdir()] if parent.is_dir() else []
            raise FileError(f"there is no run {folder}{did_you_mean(run.folder.name, names)}")
        if not (run.folder / "settings.yaml").is_file():
            raise FileError(f"{folder} is not a run: it has no settings.yaml")
        return run

    @classmethod
    def create(cls, folder: str | None, name: str) -> "Run":
        """Make a new run folder; raises SettingsError if it already holds a run."""
        path = Path(folder) if folder else _unused(Path("runs"), name)
        if (path / "settings.yaml").exists():
            raise SettingsError(
                f"--folder {path} already holds a run; continue it with 'dragoman resume {path}' "
                "or choose another --folder"
            )
        try:
            path.mkdir(parents=True, exist_ok=folder is not None)
        except OSError as error:
            if folder is None and path.is_dir():  # made this very moment by another training
                return cls.create(folder, name)
            raise SettingsError(
                f"--folder {path} cannot be made: {error.strerror}; choose another --folder"
            ) from error
        return cls(path)

    @contextmanager
    def alone(self) -> Generator[None]:
        """Hold the run; raises FileError if another process is training it."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise FileError(
                f"{self.folder} is being trained by another process; wait for it or stop it"
            ) from error

    @property
    def settings(self) -> dict[str, Any]:
        """Everything needed to repeat the run, by flat names."""
        return read_yaml(self.folder / "settings.yaml")

    @property
    def scores(self) -> dict[str, Any]:
        """The scores of the run's last evaluation."""
        return read_json(self.folder / "scores.json", "make it with 'dragoman evaluate RUN'")

    @property
    def translator(self) -> Path:
        """The folder of the saved translator."""
        return self.folder / "translator"

    @property
    def stages(self) -> Path:
        """The folder of the translators as the earlier stages left them, by name."""
        return self.folder / "stages"

    def write_settings(self, system: str, values: dict[str, Any], note: str = "") -> None:
        """Write settings.yaml: the system and every knob's value."""
        import yaml

        comment = f"# {note}\n" if note else ""
        body = yaml.safe_dump({"system": system, **values}, sort_keys=False, allow_unicode=True)
        checkpoint.write_text(self.folder / "settings.yaml", comment + body)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the run whole or not at all."""
        checkpoint.write_text(self.folder / name, json.dumps(content, indent=1) + "\n")

    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first."""
        found = (self.folder / "checkpoints").glob("step_*.safetensors")
        return sorted(p for p in found if re.fullmatch(r"step_\d{8}\.safetensors", p.name))

    def save_checkpoint(self, step: int, state: dict[str, Any], keep: int) -> Path:
        """Write a checkpoint, then remove those that are neither the last few nor the best."""
        path = self.folder / "checkpoints" / f"step_{step:08d}.safetensors"
        checkpoint.save(path, state)
        best = (state.get("best") or {}).get("step", -1)
        # Later ones are damaged, or training would not have begun again before them.
        until_now = [old for old in self.checkpoints() if old.name <= path.name]
        for old in until_now[:-keep]:
            if old.name != f"step_{best:08d}.safetensors":
                old.unlink(missing_ok=True)
        for torn in path.parent.glob(".step_*.safetensors.*"):  # left by a kill while writing
            torn.unlink(missing_ok=True)
        return path

    def load_checkpoint(self, say: Callable[[str], None] = print) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, or None if there is none at all.

        `say` is told of damaged ones. Raises FileError if there are some but all are damaged.
        """
        paths = self.checkpoints()
        for path in reversed(paths):
            try:
                state = checkpoint.load(path)
            except FileError:
                continue
            if path != paths[-1]:
                say(f"the checkpoint {paths[-1]} is damaged; going on from {path.name} instead")
            return state
        if paths:
            raise FileError(
                f"all {len(paths)} checkpoints of {self.folder} are damaged; begin anew with: "
                f"dragoman train {self.folder / 'settings.yaml'} --folder NEW"
            )
        return None


def _unused(parent: Path, name: str) -> Path:
    """A folder of that name and the present time that does not exist yet."""
    first = path = parent / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    number = 2
    while path.exists():
        path = first.with_name(f"{first.name}_{number}")
        number += 1
    return path


def read_json(path: Path, remedy: str = "") -> dict[str, Any]:
    """Read a JSON object; raises FileError with the remedy if it is missing or damaged."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise FileError(f"{path} is too large to be dragoman's" + (remedy and f"; {remedy}"))
        content = json.loads(raw)
    except FileNotFoundError as error:
        raise FileError(f"there is no {path}" + (f"; {remedy}" if remedy else "")) from error
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged" + (f"; {remedy}" if remedy else "")) from error
    if not isinstance(content, dict):
        raise FileError(f"{path} is damaged" + (f"; {remedy}" if remedy else ""))
    return content
