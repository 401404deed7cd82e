"""Scores beside those of the baselines: who is best at what, from the content of scores.json."""

import math
from dataclasses import dataclass
from typing import Any

from dragoman.errors import FileError

OURS = "this run"
MOST = 64  # metrics or baselines shown; more were not written by an evaluation
# What a metric is called, its unit, and whether high or low is better.
LABELS = {
    "l1": ("L1", "", "low"),
    "l1_percent": ("L1", "%", "low"),
    "l2_percent": ("L2", "%", "low"),
    "psnr": ("PSNR", "dB", "high"),
    "ssim": ("SSIM", "", "high"),
    "ms_ssim": ("MS-SSIM", "", "high"),
    "lpips": ("LPIPS", "", "low"),
    "fid": ("FID", "", "low"),
    "kid": ("KID", "", "low"),
}


@dataclass(frozen=True)
class Score:
    """A mean over pictures and its 95 % interval (None where the file has none)."""

    mean: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return number(self.mean)

    @property
    def interval(self) -> str:
        """ "low to high", or "" without an interval."""
        if self.low is None or self.high is None:
            return ""
        return f"{number(self.low)} to {number(self.high)}"


@dataclass(frozen=True)
class Scoreboard:
    """Rows of scores by metric: first this run, then each baseline."""

    rows: dict[str, dict[str, Score]]
    directions: dict[str, str]  # metric -> "high", "low" or "" where it is not known
    split: str
    count: str
    protocol: dict[str, str]

    @property
    def metrics(self) -> list[str]:
        """The metrics in the order of the file."""
        return list(self.directions)

    def best(self, metric: str) -> str | None:
        """Return the row with the best mean of a metric; None if its good direction is unknown."""
        means = {name: row[metric].mean for name, row in self.rows.items() if metric in row}
        match self.directions[metric]:
            case "high":
                return max(means, key=means.__getitem__)
            case "low":
                return min(means, key=means.__getitem__)
        return None

    def heading(self, metric: str) -> tuple[str, str]:
        """Return a metric's name with its unit, and what is better: "higher" or "lower" or ""."""
        name, unit, _ = LABELS.get(metric, (metric, "", ""))
        better = {"high": "higher", "low": "lower"}.get(self.directions[metric], "")
        return (f"{name} [{unit}]" if unit else name), better


def scoreboard(scores: dict[str, Any]) -> Scoreboard:
    """Read scores as an evaluation writes them; raises FileError if there is no metric in them."""
    ours = score_row(scores)
    if not ours:
        raise FileError("holds no metric")
    baselines = scores.get("baselines")
    rows = {OURS: ours}
    if isinstance(baselines, dict):
        for name, row in list(baselines.items())[:MOST]:
            rows[str(name)] = {m: s for m, s in score_row(row).items() if m in ours}
    better = scores.get("better")
    known = {metric: label[2] for metric, label in LABELS.items()}
    known |= better if isinstance(better, dict) else {}
    protocol = scores.get("protocol")
    protocol = protocol if isinstance(protocol, dict) else {}
    return Scoreboard(
        rows=rows,
        directions={metric: known.get(metric, "") for metric in ours},
        split=str(scores.get("split", "unknown")),
        count=str(scores.get("count", "an unknown number of")),
        protocol={metric: str(protocol[metric]) for metric in ours if metric in protocol},
    )


def score_row(content: Any) -> dict[str, Score]:
    """Pick the metrics out of a mapping: what has a finite "mean"."""
    if not isinstance(content, dict):
        return {}
    found = {}
    for name, value in content.items():
        if isinstance(value, dict) and (mean := finite(value.get("mean"))) is not None:
            score = Score(mean, finite(value.get("low")), finite(value.get("high")))
            found[str(name)] = score
    return dict(list(found.items())[:MOST])


def finite(value: Any) -> float | None:
    """Return a number as float, or None if it is none or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def number(value: float) -> str:
    """Write a score with the digits it deserves: 21.34, 8.04, 0.0797."""
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-4:
        return f"{value:.3g}"
    return f"{value:.2f}" if size >= 10 else f"{value:.3f}" if size >= 1 else f"{value:.4f}"
