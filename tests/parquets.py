"""Small data sets of the library datasets, for tests."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from dragoman.data.hub_table import HubTable
from dragoman.data.tables import open_table
from tests.tars import png, settings_of

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def opened(place: Path | str, **given: Any) -> HubTable:
    table = open_table(settings_of(data=f"hf:{place}", **given))
    assert isinstance(table, HubTable)
    return table


def image(data: bytes | None, path: str | None = None) -> dict | None:
    return {"bytes": data, "path": path}


def parquet(path: Path, features: dict | None = None, **columns: list) -> Path:
    """Write a parquet file as `datasets` does; without features as anybody does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if features:
        datasets.Dataset.from_dict(columns, datasets.Features(features)).to_parquet(path)
    else:
        kinds = {n: PICTURE if isinstance(v[0], dict) else None for n, v in columns.items()}
        pq.write_table(pa.table({n: pa.array(v, kinds[n]) for n, v in columns.items()}), path)
    return path


def pairs(path: Path, count: int, start: int = 0) -> Path:
    rows = range(start, start + count)
    return parquet(
        path,
        {"a": datasets.Image(), "b": datasets.Image()},
        a=[image(png(n)) for n in rows],
        b=[image(png(1000 + n), f"{n}.png") for n in rows],
    )


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}
