"""Networks between two: how much of a picture is safe, and how much is invented, chosen later."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dragoman.errors import DataError, FileError, SettingsError
from dragoman.judge import judge
from dragoman.matching import STORED, check_same
from dragoman.pipeline import Translator, load
from dragoman.run import Run
from dragoman.saved import generating

if TYPE_CHECKING:
    from dragoman.baselines import Data

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
FIRST = "psnr"  # the stage from which interpolation begins, if a run has several
MEASURES = ("psnr", "l1", "lpips")  # of the table
PROBE = 1e-3  # of a picture in [-1, 1]: rounding at most


def interpolate(psnr: Translator, gan: Translator, alpha: float) -> Translator:
    """Return the translator whose every weight is (1 - alpha) of `psnr` and alpha of `gan`.

    Wang et al. 2018, section 3.4. alpha: 0 (only psnr) to 1 (only gan), both exactly. Counts such
    as those of batch norms are the second's. Raises SettingsError for another alpha, FileError if
    the two are not of one system with equal tensors, which make pictures of them alike.
    """
    if not 0 <= alpha <= 1:
        raise SettingsError(f"--alpha must be from 0 to 1, got {alpha:g}")
    ours, theirs = (generating(one.system) for one in (psnr, gan))
    _check_alike(psnr, gan, ours, theirs)
    _check_use(psnr, _mixed(gan, ours, theirs, 0.0))
    return _mixed(gan, ours, theirs, alpha)


def _mixed(
    gan: Translator, ours: dict[str, Tensor], theirs: dict[str, Tensor], alpha: float
) -> Translator:
    """A translator like `gan` with weights between."""
    system = copy.deepcopy(gan.system)
    mixed = {
        name: _between(first.to(gan.device), theirs[name], alpha) for name, first in ours.items()
    }
    system.load_state_dict(mixed, strict=False)
    config = {**gan.config, "interpolation": {"alpha": alpha}}
    return Translator(system, config, str(gan.device))


def _check_use(psnr: Translator, same: Translator) -> None:
    """Raise FileError unless the first's weights make in the second's system what they made."""
    facts = psnr.system.facts
    sides = (facts.channels[psnr.system.source], *facts.size)
    probe = torch.rand(1, *sides, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before, after = (one.translate(probe.to(one.device), 0) for one in (psnr, same))
    stored = [[getattr(one.target, name) for name in STORED] for one in (psnr, same)]
    if stored[0] == stored[1] and torch.allclose(before, after.to(before), atol=PROBE):
        return
    settings = [one.config["settings"] for one in (psnr, same)]
    apart = [k for k, v in settings[0].items() if v != settings[1].get(k)]
    if not apart:
        apart = ["depth or range of what they make" if stored[0] != stored[1] else "stage"]
    raise FileError(
        "there are no networks between these translators, whose equal weights make different "
        f"pictures: they differ in {', '.join(apart[:5])}; name two that were trained alike"
    )


def _between(first: Tensor, second: Tensor, alpha: float) -> Tensor:
    if not second.is_floating_point() or alpha == 1:
        return second
    return first if alpha == 0 else (1 - alpha) * first + alpha * second


def _check_alike(
    psnr: Translator, gan: Translator, ours: dict[str, Tensor], theirs: dict[str, Tensor]
) -> None:
    """Raise FileError unless both are translators of one system with equal tensors."""
    names = [str(one.config["system"]) for one in (psnr, gan)]
    if names[0] != names[1]:
        raise FileError(
            f"there are no networks between those of {names[0]} and {names[1]}; "
            "name two translators of one system"
        )
    wrong = [
        name
        for name in {**ours, **theirs}
        if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape
    ]
    if wrong or psnr.system.facts.scale != gan.system.facts.scale:
        told = f"{len(wrong)} tensors differ, as '{wrong[0]}'" if wrong else "their scales differ"
        raise FileError(
            f"there are no networks between these translators: {told}; "
            "train both with equal --width, --blocks and the like"
        )


def ends(run: str | Path, gan: str | Path | None, device: str) -> tuple[Translator, Translator]:
    """Load the two translators: of two runs, or of one run's first stage and its end.

    Raises FileError if a run has kept no earlier stage.
    """
    if gan is not None:
        return load(run, device), load(gan, device)
    stages = Run.open(run).stages
    names = sorted(path.name for path in stages.iterdir()) if stages.is_dir() else []
    if FIRST not in names and len(names) != 1:
        kept = f"it has {', '.join(names)}" if names else "it has kept none"
        raise FileError(
            f"{run} has no earlier stage '{FIRST}' to begin at, {kept}; name two translators"
        )
    return load(stages / (FIRST if FIRST in names else names[0]), device), load(run, device)


def parse_alphas(text: str) -> list[float]:
    """Read "0,0.2,1"; raises SettingsError."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(0 <= alpha <= 1 for alpha in found):
        raise SettingsError(f"--alphas must be numbers from 0 to 1 as 0,0.5,1, got '{text}'")
    return sorted(set(found))


def judge_between(
    psnr: Translator,
    gan: Translator,
    data: Data,
    alphas: Sequence[float] = ALPHAS,
    split: str = "test",
) -> list[dict[str, Any]]:
    """Judge the translators between two on a split.

    Returns for each alpha {"alpha", measure: {"mean", "low", "high"}, ...}; noise is the same for
    all. Raises DataError where there is no truth to compare with.
    """
    system = gan.system
    known = system.target is not None and not system.domains()
    if not known or not data.counts.get(split) or not data.partners(split):
        raise DataError(
            f"{data.name} has no true pictures in the split '{split}' to judge by; "
            "choose another --split"
        )
    rows = []
    for alpha in alphas:
        between = interpolate(psnr, gan, alpha)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            scores = judge(
                between.generate,
                data,
                split,
                system.source,
                system.target,
                with_baselines=False,
            )
        told = {k: v for k, v in scores.items() if isinstance(v, dict) and "mean" in v}
        rows.append({"alpha": alpha, **told})
    return rows


def table(rows: Sequence[dict[str, Any]], title: str = "") -> str:
    """Set PSNR, L1 and LPIPS over alpha in plain text, the best of each marked *."""
    measures = [name for name in MEASURES if all(name in row for row in rows)]
    lines = [title] if title else []
    lines.append("alpha" + "".join(f"{name:>10}" for name in measures))
    best = {
        name: (max if name == "psnr" else min)(row[name]["mean"] for row in rows)
        for name in measures
    }
    for row in rows:
        cells = [
            f"{row[name]['mean']:>9.4g}" + ("*" if row[name]["mean"] == best[name] else " ")
            for name in measures
        ]
        lines.append(f"{row['alpha']:<5g}" + "".join(cells).rstrip())
    return "\n".join(lines)


def judge_run(
    run: str | Path,
    gan: str | Path | None = None,
    alphas: Sequence[float] = ALPHAS,
    split: str = "test",
    device: str = "auto",
) -> str:
    """Judge what lies between on the data of the (second) run; returns the table.

    Also writes interpolation.json into that run. Raises FileError if it is no run.
    """
    from dragoman.data import open_data
    from dragoman.data.settings import DataSettings
    from dragoman.settings import build

    trained = Run.open(run if gan is None else gan)
    first, second = ends(run, gan, device)
    data = open_data(build(DataSettings, trained.settings))
    check_same(second.config["domains"], data)
    rows = judge_between(first, second, data, alphas, split)
    content = {"split": split, "data": data.name, "first": str(run if gan else FIRST)}
    trained.write_json("interpolation.json", {**content, "rows": rows})
    return table(rows, f"{data.name}, {split} split")
