"""The folder of golden fixtures to check, and their summary by family."""

from collections import Counter, defaultdict
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import hypothesis
import pytest

# No test is timed: a busy machine is slow.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

OUTCOMES = {"passed": "passed", "failed": "failed", "error": "failed", "skipped": "unsupported"}


def pytest_addoption(parser):
    """Add the option that names a folder of fixtures."""
    parser.addoption("--golden", metavar="DIR", help="folder of golden fixtures to check")


def pytest_terminal_summary(terminalreporter):
    """Print how many fixtures of each family passed, failed and are unsupported."""
    families, unsupported = defaultdict(Counter), []
    for word, outcome in OUTCOMES.items():
        for report in terminalreporter.stats.get(word, []):
            name = dict(getattr(report, "user_properties", [])).get("golden")
            if name is None or (report.when == "teardown" and word != "error"):
                continue
            families[name.split("_")[0]][outcome] += 1
            if outcome == "unsupported":
                unsupported.append(f"{name}: {report.longrepr[2].removeprefix('Skipped: ')}")
    if not families:
        return
    terminalreporter.section("golden fixtures")
    total = sum(families.values(), Counter())
    for family, counts in [*sorted(families.items()), ("all", total)]:
        told = ", ".join(f"{counts[o]} {o}" for o in ("passed", "failed", "unsupported"))
        terminalreporter.write_line(f"{family}: {told}")
    for line in sorted(unsupported):
        terminalreporter.write_line(f"unsupported {line}")


@pytest.fixture(scope="session")
def tiny():
    """The knobs of a training that takes half a second: a small pix2pix on 16 pairs of 32 px.

    Its generator is one with dropout, which a U-Net so shallow has not: noise must be drawn.
    """
    return {
        "data": str(Path(__file__).parent / "data" / "tiny" / "earth32"),
        "size": 32,
        "generator": "resnet",
        "blocks": 1,
        "width": 4,
        "discriminator_width": 4,
        "patch": 16,
        "batch": 4,
        "precision": "fp32",
        "device": "cpu",
        "live": False,
    }


@pytest.fixture(scope="session")
def tiny_run(tiny, tmp_path_factory):
    """A finished run of four steps with checkpoints at 2 and 4; tests must not change it."""
    import dragoman

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return dragoman.train("pix2pix", folder=folder, steps=4, checkpoint_every=2, **tiny)


@pytest.fixture(scope="session")
def funit_run(tmp_path_factory):
    """A finished run of two steps of FUNIT that has not seen red; tests must not change it."""
    from coloured import KNOBS, lay_out

    import dragoman

    folder = tmp_path_factory.mktemp("funit")
    return dragoman.train("funit", folder=folder / "run", data=lay_out(folder / "data"), **KNOBS)


@pytest.fixture(scope="module")
def translator():
    """A small translator with noise, for tests of translating files."""
    from noisy import noisy

    return noisy()


@pytest.fixture
def pictures(tmp_path):
    """A folder of four pictures of several formats and depths of folders."""
    from noisy import some_pictures

    return some_pictures(tmp_path / "in")


@pytest.fixture(scope="session")
def script():
    """Loads a script of recipes/ by its name."""

    def load(name):
        folder = Path(__file__).parents[1] / "recipes"
        spec = spec_from_file_location(name, folder / f"{name}.py")
        assert spec
        assert spec.loader
        module = module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(folder)  # as where it is run: scripts import each other
            spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def unmoved(monkeypatch):
    """Let perceptual terms see pictures where they are, so that they can be worked out again."""
    from dragoman.losses.perceptual import Perceptual

    monkeypatch.setattr(Perceptual, "draw", lambda self, count: None)
