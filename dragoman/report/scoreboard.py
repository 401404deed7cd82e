"""Scores beside those of the baselines: who is best at what, from the content of scores.json."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

from dragoman.errors import FileError

OURS = "translator"  # the row of the judged run, as in the table of `dragoman evaluate`
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
    "kid_alex": ("KID (AlexNet)", "/1000", "low"),
    "psnr_y": ("PSNR (Y)", "dB", "high"),
    "ssim_y": ("SSIM (Y)", "", "high"),
    "hole_l1_percent": ("L1 in the hole", "%", "low"),
    "hole_l2_percent": ("L2 in the hole", "%", "low"),
    "hole_psnr": ("PSNR in the hole", "dB", "high"),
    "pixel_accuracy": ("pixel accuracy", "", "high"),
    "class_accuracy": ("class accuracy", "", "high"),
    "miou": ("mean IoU", "", "high"),
    "diversity": ("diversity (LPIPS)", "", "high"),
    "nearest_l1": ("nearest answer's L1", "", "low"),
    "nearest_lpips": ("nearest answer's LPIPS", "", "low"),
    "cycle_l1": ("L1 there and back", "", "low"),
}
AFTER = "after "  # begins the row of the translator as an earlier stage left it


@dataclass(frozen=True)
class Score:
    """A mean over pictures, or a number of all, and its 95 % interval (None if there is none)."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Scoreboard:
    """Rows of scores by metric: first the run's translator, then each baseline."""

    rows: dict[str, dict[str, Score]]
    directions: dict[str, str]  # metric -> "high", "low" or "" where it is not known
    split: str
    count: str
    protocol: dict[str, str]
    left_out: dict[str, str]  # metric -> why it could not be measured
    units: dict[str, str] = field(default_factory=dict)
    way: str = ""  # the direction of translation, where there are several
    others: tuple["Scoreboard", ...] = ()  # of the other directions

    @property
    def metrics(self) -> list[str]:
        """The metrics in the order of the file."""
        return list(self.directions)

    def best(self, metric: str) -> str | None:
        """Return the row with the best mean of a metric.

        None if its good direction is unknown, or if of several rows only one has it.
        """
        means = {name: row[metric].mean for name, row in self.rows.items() if metric in row}
        if len(means) < min(2, len(self.rows)):
            return None
        match self.directions[metric]:
            case "high":
                return max(means, key=means.__getitem__)
            case "low":
                return min(means, key=means.__getitem__)
        return None

    def cell(self, row: str, metric: str) -> tuple[str, str]:
        """Return a mean and its interval ("low to high", or ""), alike in digits down a column."""
        score = self.rows[row].get(metric)
        if score is None:
            return "–", ""
        digits = decimals(self.rows[OURS][metric].mean)
        ends = [f"{end:.{digits}f}" for end in (score.low, score.high) if end is not None]
        return f"{score.mean:.{digits}f}", " to ".join(ends) if len(ends) == 2 else ""

    def heading(self, metric: str) -> tuple[str, str]:
        """Return a metric's name with its unit, and what is better: "higher" or "lower" or ""."""
        name, unit, _ = LABELS.get(metric, (metric, self.units.get(metric, ""), ""))
        better = {"high": "higher", "low": "lower"}.get(self.directions[metric], "")
        return (f"{name} [{unit}]" if unit else name), better

    @property
    def notes(self) -> list[str]:
        """Sentences about the table that not every table needs."""
        said = []
        if any(score.low is None for score in self.rows[OURS].values()):
            said.append("A number without an interval is one of all pictures together.")
        if any(name.startswith(AFTER) for name in self.rows):
            said.append('A row "after ..." is the translator as that stage of training left it.')
        return said


def scoreboard(scores: dict[str, Any]) -> Scoreboard:
    """Read scores as an evaluation writes them; raises FileError if there is no metric in them."""
    others = list(mapping(scores.get("directions")).items())[:MOST]
    first = _board(scores, str(scores.get("direction", "")) if others else "")
    return replace(first, others=tuple(_board(mapping(one), name) for name, one in others))


def _board(scores: dict[str, Any], way: str) -> Scoreboard:
    ours = score_row(scores)
    if not ours:
        raise FileError("holds no metric")
    rows = {OURS: ours}
    for name, row in list(mapping(scores.get("baselines")).items())[:MOST]:
        rows[str(name)] = {m: s for m, s in score_row(row).items() if m in ours}
    known = {metric: label[2] for metric, label in LABELS.items()}
    known |= {m: str(better) for m, better in mapping(scores.get("better")).items()}
    protocol, left_out = mapping(scores.get("protocol")), mapping(scores.get("left_out"))
    units = mapping(scores.get("unit"))
    return Scoreboard(
        rows=rows,
        directions={metric: known.get(metric, "") for metric in ours},
        split=str(scores.get("split", "unknown")),
        count=str(scores.get("count", "an unknown number of")),
        protocol={metric: str(protocol[metric]) for metric in ours if metric in protocol},
        left_out={str(metric): str(why) for metric, why in list(left_out.items())[:MOST]},
        units={metric: str(units[metric]) for metric in ours if metric in units},
        way=str(way)[:MOST],
    )


def mapping(content: Any) -> dict[str, Any]:
    """Return the content if it is a mapping, else an empty one."""
    return content if isinstance(content, dict) else {}


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


def decimals(mean: float) -> int:
    """Return the digits after the point for scores of that size: 21.34, 0.312, 0.0797."""
    size = abs(mean)
    return next((digits for floor, digits in ((1, 2), (0.1, 3), (0.01, 4)) if size >= floor), 5)
