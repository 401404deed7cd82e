"""The model card of a saved translator: README.md in the layout of the Hugging Face Hub."""

from typing import Any

import yaml

from dragoman.data.catalogue import EDITIONS
from dragoman.errors import FileError
from dragoman.report.folder import brief
from dragoman.report.scoreboard import OURS, Scoreboard, finite, mapping, scoreboard

# Sets whose licence a translator trained on them inherits or may leave behind.
LICENSES = {"openmoji": "cc-by-sa-4.0", "earth": "apache-2.0"}
# Of the settings of training, those that tell what the weights have seen.
TRAINING = (
    *("steps", "batch", "schedule", "average", "precision", "clip", "seed"),
    *("size", "pairing", "crop", "flip"),
)

MOST_TABLES = 3  # of further directions; a card is to be read at a glance


def model_card(
    config: dict[str, Any],
    scores: dict[str, Any] | None,
    credits: str,
    any_size: bool = True,
    shown: bool = False,
) -> str:
    """Return the text of README.md for a translator.

    config: the content of its config.json: "system", "settings", "facts", "domains", "data",
    "training" and, if it is not to be derived from the data, "license". scores: the content of
    scores.json or None. credits: of the data. any_size: whether it takes pictures of other sizes
    than those of training. shown: whether it must be shown what to make. Everything is escaped for
    Markdown.
    """
    try:
        board = scoreboard(scores) if scores else None
    except FileError:
        board = None
    system, data = line(config.get("system", "unknown")), line(config.get("data", "own pictures"))
    parts = [
        front_matter(config, board),
        f"# {system} on {data}",
        purpose(config, system, any_size),
        use(shown),
        training(config, data),
        f"## Scores\n\n{score_text(board)}",
        limits(config, data),
        f"## Credits and licence\n\n{license_text(license_of(config))}",
        *(line(credit) for credit in str(credits or "").splitlines() if credit.strip()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def line(value: Any) -> str:
    """Write a value as one line of Markdown in which nothing is markup."""
    text = " ".join(brief(value).split())
    text = "".join(f"\\{c}" if c in "\\`*_[]<>|#!" else c for c in text)
    return f"\\{text}" if text[:1] in ("-", "+", "=", "~") else text


def license_of(config: dict[str, Any]) -> str:
    """Return the licence identifier: the given one, else what the data set asks for."""
    given = config.get("license")
    if isinstance(given, str) and given:
        return given
    training = config.get("training")
    data = str(training.get("data", "") if isinstance(training, dict) else "")
    edition = EDITIONS.get(data.partition(":")[0])  # own pictures may be called anything
    return LICENSES.get(edition.family, "other") if edition else "other"


def license_text(name: str) -> str:
    """Say what the licence follows from."""
    if name == "other":
        return (
            "The licence of these weights depends on the pictures they were trained on; whoever "
            "passes them on has to name it (`license` above). The code is Apache-2.0."
        )
    return f"The weights are under {line(name)}. The code is Apache-2.0."


def front_matter(config: dict[str, Any], board: Scoreboard | None) -> str:
    """Return the YAML block that the Hub reads."""
    system = brief(config.get("system", "unknown"))
    data = brief(config.get("data", "own pictures"))
    content: dict[str, Any] = {"license": license_of(config)}
    if content["license"] == "other":
        content["license_name"] = "depends-on-the-training-pictures"
    content |= {
        "library_name": "dragoman",
        "pipeline_tag": "image-to-image",
        "tags": ["dragoman", "gan", "image-to-image", system],
    }
    if board:
        measured = [
            {"type": metric, "name": board.heading(metric)[0], "value": score.mean}
            for metric, score in board.rows[OURS].items()
        ]
        task = {"type": "image-to-image", "name": "Image-to-image translation"}
        dataset = {"type": data, "name": data, "split": board.split}
        result = {"task": task, "dataset": dataset, "metrics": measured}
        content["model-index"] = [{"name": f"{system} on {data}", "results": [result]}]
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---"


def purpose(config: dict[str, Any], system: str, any_size: bool = True) -> str:
    """Say what the translator reads and paints."""
    domains = [mapping(domain) for domain in mapping(config.get("domains")).values()]
    names = [line(domain["name"]) for domain in domains if domain.get("name")]
    pair = f"{names[0]} to {names[1]}" if len(names) >= 2 else "pictures to pictures"
    size, accepts = size_of(config), "accepts any size" if any_size else "accepts no other size"
    at = f" It was trained at {size} and {accepts}." if size else ""
    return f"A translator from {pair}: the system {system}, trained with dragoman.{at}"


def size_of(config: dict[str, Any]) -> str:
    """Return "64 x 64 px", or "" if it is not known."""
    size = mapping(config.get("facts")).get("size")
    known = isinstance(size, list | tuple) and len(size) == 2
    return f"{line(size[0])} x {line(size[1])} px" if known else ""


def use(shown: bool = False) -> str:
    """Say how the translator is used; shown: with pictures of the domain that is wanted."""
    chosen = '.choosing(reference="examples")' if shown else ""
    option = " --reference examples" if shown else ""
    return (
        "## Use\n\n```python\n"
        "import dragoman\nfrom PIL import Image\n\n"
        'translator = dragoman.load("FOLDER")  # the folder of this file\n'
        f'translator{chosen}(Image.open("in.png")).save("out.png")\n```\n\n'
        "or for a picture or a folder of pictures:\n\n"
        f"```sh\ndragoman translate FOLDER in.png out.png{option}\n```\n\n"
        "The weights are safetensors; loading them runs no code."
    )


def training(config: dict[str, Any], data: str) -> str:
    """Say what the translator was trained on and how."""
    facts, how = mapping(config.get("facts")), mapping(config.get("training"))
    images = finite(facts.get("images"))
    count = f", {images:,.0f} training pictures" if images else ""
    table = {name: how.get(name) for name in TRAINING} | mapping(config.get("settings"))
    rows = "\n".join(
        f"| {line(name)} | {line(value)} |" for name, value in table.items() if value is not None
    )
    listed = f"\n\n| setting | value |\n| --- | --- |\n{rows}" if rows else ""
    return "## Data and training\n\n" + f"Data: {data}{count}." + listed


def score_text(board: Scoreboard | None) -> str:
    """Return the table of scores, or say how to get one."""
    if board is None:
        return "Not judged yet: `dragoman evaluate RUN` judges the run this comes from."
    others = board.others if len(board.others) <= MOST_TABLES else ()
    tables = [(one.way, one_table(one)) for one in (board, *others)]
    return "\n\n".join((f"### {line(way)}\n\n" if way else "") + told for way, told in tables)


def one_table(board: Scoreboard) -> str:
    """Return the table of one direction."""
    titles = []
    for metric in board.metrics:
        name, better = board.heading(metric)
        titles.append(line(name) + {"higher": " ↑", "lower": " ↓", "": ""}[better])
    rows = [f"| | {' | '.join(titles)} |", "| --- |" + " ---: |" * len(titles)]
    for name in board.rows:
        cells = [score_cell(board, name, metric) for metric in board.metrics]
        rows.append(f"| {line(name)} | {' | '.join(cells)} |")
    protocol = [
        f"- {line(board.heading(metric)[0])}: {line(said)}"
        for metric, said in board.protocol.items()
    ]
    text = (
        f"Means over {line(board.count)} pictures of the {line(board.split)} split with 95 % "
        "bootstrap intervals; the best of each column is bold. Rows called after NAME are "
        "earlier stages of the same run, the others baselines that need no network."
        + "".join(f" {note}" for note in board.notes)
    )
    table = "\n".join(rows)
    return "\n\n".join(part for part in (text, table, "\n".join(protocol)) if part)


def score_cell(board: Scoreboard, row: str, metric: str) -> str:
    """Return "**21.34** (20.90 to 21.80)"."""
    mean, interval = board.cell(row, metric)
    mean = f"**{mean}**" if board.best(metric) == row else mean
    return f"{mean} ({interval})" if interval else mean


def limits(config: dict[str, Any], data: str) -> str:
    """Say what the translator cannot be trusted with."""
    size = size_of(config)
    scale = f" at the scale of its training pictures of {size}" if size else ""
    return (
        "## Limits\n\n"
        f"It paints what is likely for pictures like those of {data}{scale}. Details are "
        "invented, not measured: do not read facts from its pictures. On pictures of another "
        "kind its output means nothing, and it gives no warning."
    )
