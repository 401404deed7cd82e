"""The run folder: where everything of one training lies, and what of it is kept."""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dragoman import checkpoint
from dragoman.errors import FileError, SettingsError, did_you_mean
from dragoman.settings import knob, read_yaml


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
    tensorboard: bool = knob(False, "also write TensorBoard files (extra: track)")
    live: bool = knob(True, "show progress while training")


class Run:
    """One training's folder: settings, journal, samples, checkpoints, scores, translator."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """Open an existing run; raises FileError if the folder is none."""
        run = cls(folder)
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
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"--folder {path} cannot be made: {error.strerror}; choose another --folder"
            ) from error
        return cls(path)

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
        for old in self.checkpoints()[:-keep]:
            if old.name != f"step_{best:08d}.safetensors":
                old.unlink(missing_ok=True)
        return path

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, or None if there is none at all.

        Raises FileError if there are some but all are damaged.
        """
        paths = self.checkpoints()
        for path in reversed(paths):
            try:
                return checkpoint.load(path)
            except FileError:
                continue
        if paths:
            raise FileError(f"all {len(paths)} checkpoints of {self.folder} are damaged")
        return None


def _unused(parent: Path, name: str) -> Path:
    """A folder of that name and the present time that does not exist yet."""
    path = parent / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    number = 2
    while path.exists():
        path = path.with_name(f"{path.name.split('_')[0]}_{number}")
        number += 1
    return path


def read_json(path: Path, remedy: str = "") -> dict[str, Any]:
    """Read a JSON object; raises FileError with the remedy if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileError(f"there is no {path}" + (f"; {remedy}" if remedy else "")) from error
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged" + (f"; {remedy}" if remedy else "")) from error
    if not isinstance(content, dict):
        raise FileError(f"{path} is damaged" + (f"; {remedy}" if remedy else ""))
    return content
