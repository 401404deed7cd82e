"""What the documents show works: the system of docs/adding_a_system.md is trained here."""

import re
import sys
import types
from pathlib import Path

import pytest
from synthetic import FACTS, batches

import dragoman.systems
from dragoman.engine import Engine, EngineSettings
from dragoman.settings import build
from dragoman.systems import find_system

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "adding_a_system.md").read_text(encoding="utf-8")


@pytest.fixture
def shown(monkeypatch):
    """The system that the page adds, by its own file and line."""
    code, line = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    [(name, kind)] = re.findall(r'"(\w+)": "(\w+)",', line)
    module = types.ModuleType(f"dragoman.systems.{name}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, f"{name}.py", "exec"), module.__dict__)
    monkeypatch.setitem(dragoman.systems.SYSTEMS, name, kind)
    return name


def test_the_shown_system_trains_as_the_page_says(shown):
    kind = find_system(shown)
    system = kind(build(kind.Settings, {"width": 4}), FACTS)
    heard = {}
    engine = Engine(
        system, build(EngineSettings, {"device": "cpu"}), 40, lambda *told: note(heard, *told)
    )
    for _ in engine.run(batches):
        pass
    assert set(heard) == {"generator.l1", "generator.edges"}
    assert heard["generator.l1"][-1] < heard["generator.l1"][0]


def note(heard, step, turn, terms):
    for name, term in terms.items():
        heard.setdefault(f"{turn}.{name}", []).append(term.item())


@pytest.mark.parametrize("page", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"])
def test_links_between_documents_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
