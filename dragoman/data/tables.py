"""From the text of the setting `data` to the table of a user's own files, in any layout."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dragoman.data.assembling import assemble
from dragoman.data.class_folders import open_classes
from dragoman.data.manifest import open_manifest
from dragoman.data.picture_labels import add_labels
from dragoman.data.recognition import (
    Plan,
    parts,
    plan_pairs,
    plan_parts,
    plan_pictures,
    recognise,
)
from dragoman.data.scan import listing_once
from dragoman.data.settings import DataSettings
from dragoman.data.table import Table
from dragoman.errors import SettingsError


def open_table(settings: DataSettings) -> Table:
    """Find the files that the settings name, in the layout they name or the one that is there.

    Raises SettingsError for settings that cannot be, DataError for files that are missing or
    cannot be used at all. What could be left out is told in `problems`.
    """
    with listing_once():
        return _opened(settings)


def _opened(settings: DataSettings) -> Table:
    layout = recognise(settings) if settings.layout == "auto" else settings.layout
    if settings.labels is not None and layout != "single":
        raise SettingsError(
            f"--labels is for single pictures, but --data {settings.data} is of the layout "
            f"{layout}; use --layout single, or leave --labels out"
        )
    if settings.columns is not None and layout in ("pairs", "side_by_side", "classes"):
        raise SettingsError(
            f"--columns is for manifests, but --data {settings.data} is of the layout {layout}; "
            "leave it out"
        )
    return _OPENERS[layout](settings)


def _pairs(settings: DataSettings) -> Table:
    stacks = parts(settings.data)
    if len(stacks) == 1 and len(stacks[0]) > 1:
        raise SettingsError(
            f"--layout pairs needs two stacks, as DIR_1+DIR_2,DIR_B, but --data {settings.data} "
            "has one"
        )
    plan = plan_pairs(stacks[0][0]) if len(stacks) == 1 else plan_parts(stacks, ("a", "b"))
    return assemble(plan, _name(stacks), settings.pairing == "paired")


def _side_by_side(settings: DataSettings) -> Table:
    stacks = _one_stack(settings, "side_by_side")
    plan = _pictures(stacks, ("a", "b"))
    halves = {"a": "left", "b": "right"}
    return assemble(plan, _name(stacks), settings.pairing == "paired", halves)


def _single(settings: DataSettings) -> Table:
    stacks = _one_stack(settings, "single")
    table = assemble(_pictures(stacks, ("image",)), _name(stacks), True)
    if settings.labels is not None:
        add_labels(table, stacks[0][0], settings)
    return table


def _classes(settings: DataSettings) -> Table:
    stacks = _one_stack(settings, "classes")
    if len(stacks[0]) > 1:
        raise SettingsError("--layout classes needs one folder; leave the + out of --data")
    folder = stacks[0][0]
    split = os.path.isdir(folder / "train")
    return open_classes(plan_pictures(folder, ("image",), layers=split), _name(stacks))


def _one_stack(settings: DataSettings, layout: str) -> list[tuple[Path, ...]]:
    stacks = parts(settings.data)
    if len(stacks) > 1:
        raise SettingsError(
            f"--layout {layout} needs one folder, but --data {settings.data} names "
            f"{len(stacks)}; two folders are --layout pairs"
        )
    return stacks


def _pictures(stacks: list[tuple[Path, ...]], keys: tuple[str, ...]) -> Plan:
    if len(stacks[0]) == 1:
        return plan_pictures(stacks[0][0], keys)
    return plan_parts(stacks * len(keys), keys)


def _name(stacks: list[tuple[Path, ...]]) -> str:
    return "-".join(folder.resolve().name for stack in stacks for folder in stack)


def _shards(settings: DataSettings) -> Table:
    from dragoman.data.shard_table import ShardTable

    whole = Path(settings.data)
    files = [whole] if os.path.exists(whole) else [Path(part) for part in settings.data.split(",")]
    return ShardTable(files, settings)


def _hub(settings: DataSettings) -> Table:
    from dragoman.data.hub_table import HubTable

    return HubTable(settings.data, settings)


_OPENERS: dict[str, Callable[[DataSettings], Table]] = {
    "pairs": _pairs,
    "side_by_side": _side_by_side,
    "single": _single,
    "classes": _classes,
    "manifest": open_manifest,
    "shards": _shards,
    "hf": _hub,
}
