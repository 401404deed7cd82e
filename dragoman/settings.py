"""A knob is declared once; the command line, YAML files and Python calls all derive from it."""

import dataclasses
import inspect
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from dragoman.errors import SettingsError, did_you_mean

MOST_CHARACTERS = 1 << 16  # of a settings file


def knob(
    default: Any = dataclasses.MISSING,
    help: str = "",
    low: float | None = None,
    high: float | None = None,
    pictures: bool = False,
) -> Any:
    """Declare a setting: its default, what it does, and the closed range it must lie in.

    pictures: it is one or more pictures, which the command line names by their files.
    """
    told = {"help": help, "low": low, "high": high, "pictures": pictures}
    return dataclasses.field(default=default, metadata=told)


@dataclasses.dataclass(frozen=True)
class Knob:
    """One declared setting, as found in a dataclass."""

    name: str
    type: Any
    default: Any
    help: str
    low: float | None
    high: float | None

    @property
    def required(self) -> bool:
        """True if a value must be given."""
        return self.default is dataclasses.MISSING


def knobs(groups: Iterable[type]) -> dict[str, Knob]:
    """Return all knobs of some settings dataclasses by name.

    Raises SettingsError if two groups declare one name, since the command line is flat.
    """
    found: dict[str, Knob] = {}
    for group in groups:
        hints = get_type_hints(group)
        for field in _fields(group):
            if field.name in found:
                raise SettingsError(f"the knob '{field.name}' is declared twice")
            found[field.name] = Knob(
                field.name,
                str | None if field.metadata.get("pictures") else hints[field.name],
                field.default,
                field.metadata.get("help", ""),
                field.metadata.get("low"),
                field.metadata.get("high"),
            )
    return found


def _fields(group: type) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(group)  # ty: ignore


def own_values(group: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that are knobs of one settings dataclass."""
    return {field.name: values[field.name] for field in _fields(group) if field.name in values}


def parse(
    groups: Sequence[type],
    values: Mapping[str, Any] | None = None,
    arguments: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
    program: str = "dragoman",
    where: str = "",
) -> dict[str, Any]:
    """Return the value of every knob: defaults, then `values` (a file, a call), then `arguments`.

    `defaults` are the system's own; `where` names the file that `values` came from.
    Raises SettingsError for an unknown name, a wrong type or a value out of range.
    """
    declared = knobs(groups)
    parser = _parser(declared, defaults or {}, program)
    place = f" in {where}" if where else ""
    for name in values or {}:
        if name not in declared:
            raise SettingsError(
                f"unknown setting '{name}'{place}{did_you_mean(str(name), declared)}"
            )
    try:
        namespace = parser.parse_object(_plain(values)) if values else parser.get_defaults()
    except SettingsError as error:
        raise SettingsError(f"{error}{place}") from error
    if arguments:
        namespace = parser.parse_args(list(arguments), namespace=namespace)
    result = {name: getattr(namespace, name) for name in declared}
    for name, one in declared.items():
        _check_range(one, result[name], place)
        if result[name] is None and not one.required and type(None) not in get_args(one.type):
            raise SettingsError(f"--{name}{place} must be {describe(one.type)}, got null")
    return result


def build(group: type, values: Mapping[str, Any]) -> Any:
    """Make a settings dataclass from a flat mapping that may hold other groups' knobs too.

    Values are checked as those of the command line are; missing ones take their defaults.
    """
    return group(**parse([group], own_values(group, values)))


def load_yaml(text: str) -> Any:
    """Parse YAML into plain values; merge keys, which could fill the memory, are left alone.

    Raises YAMLError for what is no YAML and for a name that is given twice.
    """
    import yaml
    from yaml.constructor import ConstructorError

    class PlainLoader(yaml.SafeLoader):
        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            """Leave "<<" as it stands; it is then refused as a name."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            """Refuse what plain YAML would settle silently: a name with two values."""
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    raise ConstructorError(
                        problem=f"'{key.value}' is given twice", problem_mark=key.start_mark
                    )
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

    return yaml.load(text, PlainLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a flat YAML mapping of settings; never builds Python objects from it."""
    import yaml

    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
        if len(text) > MOST_CHARACTERS:
            raise SettingsError(f"{path} is too long to be a settings file")
        loaded = load_yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings file {path}: {error}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        told = getattr(error, "problem", None) or "it cannot be read"
        place = f"line {line + 1}: {told}" if line is not None else told
        raise SettingsError(f"{path} is not valid YAML ({place})") from error
    if not isinstance(loaded, dict):
        raise SettingsError(f"{path} must hold 'name: value' lines, one for each setting")
    for name, value in loaded.items():
        if not isinstance(value, str | int | float | bool | None):
            raise SettingsError(
                f"{path} must hold 'name: value' lines, one for each setting; '{name}' has a "
                f"{type(value).__name__} (quotes make it a text)"
            )
    return {str(name): value for name, value in loaded.items()}


def describe(kind: Any) -> str:
    """Say in words what values a type takes: "an integer or null"."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(value) for value in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        inner = [describe(k) for k in get_args(kind) if k is not type(None)]
        return " or ".join(inner) + (" or null" if type(None) in get_args(kind) else "")
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}


def _check_range(one: Knob, value: Any, place: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not math.isfinite(value):
        raise SettingsError(f"--{one.name}{place} must be a finite number, got {value}")
    if one.low is not None and value < one.low:
        raise SettingsError(f"--{one.name}{place} must be at least {one.low}, got {value}")
    if one.high is not None and value > one.high:
        raise SettingsError(f"--{one.name}{place} must be at most {one.high}, got {value}")


def _parser(declared: Mapping[str, Knob], defaults: Mapping[str, Any], program: str) -> Any:
    parser = _empty_parser(declared, program)
    for one in declared.values():
        default = defaults.get(one.name, None if one.required else one.default)
        parser.add_argument(f"--{one.name}", type=one.type, default=default, help=one.help)
    return parser


def _empty_parser(declared: Mapping[str, Knob], program: str, about: str = "") -> Any:
    from jsonargparse import ArgumentParser

    class Parser(ArgumentParser):
        """A parser that answers with one sentence instead of a usage dump."""

        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            raise SettingsError(_sentence(message, declared)) from ex

    return Parser(
        prog=program, exit_on_error=False, allow_abbrev=False, default_env=False, description=about
    )


def signature_parser(
    function: Callable[..., None], program: str, further: Mapping[str, Knob] | None = None
) -> Any:
    """A parser for a function: parameters without default are positional, the rest are flags.

    Help comes from the function's docstring, its "Args:" section in particular. A parameter
    `**settings: Group` stands for all knobs of that settings dataclass that have no parameter.
    further: knobs besides, which are left out of what is parsed where they are not given.
    """
    about, _, rest = (inspect.getdoc(function) or "").partition("Args:")
    told = dict(re.findall(r"^\s*(\w+): (.*)$", rest, re.MULTILINE))
    declared = _parameters(function, told) | dict(further or {})
    parser = _empty_parser(declared, program, about.strip())
    for one in declared.values():
        if one.required and get_origin(one.type) is list:
            kind = get_args(one.type)[0]
            parser.add_argument(one.name, type=kind, nargs="+", help=one.help)
        elif one.required:
            parser.add_argument(one.name, type=one.type, help=one.help)
        else:
            parser.add_argument(f"--{one.name}", type=one.type, default=one.default, help=one.help)
    return parser


def _parameters(function: Callable[..., None], told: Mapping[str, str]) -> dict[str, Knob]:
    """The parameters of a function as knobs, with the help that its docstring has for them."""
    hints = get_type_hints(function)
    missing = inspect.Parameter.empty
    declared: dict[str, Knob] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            declared |= {k: v for k, v in knobs([hints[name]]).items() if k not in declared}
            continue
        default = dataclasses.MISSING if parameter.default is missing else parameter.default
        declared[name] = Knob(name, hints[name], default, told.get(name, ""), None, None)
    return declared


def _sentence(message: str, declared: Mapping[str, Knob]) -> str:
    """Turn the parser's message into one sentence that names the flag and the remedy."""
    wrong = re.search(r'key "(\w+)":.*(?:Got|Given) value: (.*)', message, re.DOTALL)
    if wrong and wrong[1] in declared:
        wanted = describe(declared[wrong[1]].type)
        return f"--{wrong[1]} must be {wanted}, got {wrong[2].strip()!r}"
    lone = re.search(r"argument --(\w+): expected one argument", message)
    if lone and lone[1] in declared:
        return f"--{lone[1]} needs a value: {describe(declared[lone[1]].type)}"
    unknown = re.search(r"unrecognized arguments: (\S+)", message)
    if unknown:
        name = unknown[1].removeprefix("--").split("=")[0]
        return f"unknown setting '{unknown[1]}'{did_you_mean(name, declared)}"
    return message.strip().replace("\n", " ")
