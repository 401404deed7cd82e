"""The package gives the numbers of the official implementations, on any folder of fixtures."""

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

import golden_checks
import pytest
import torch
from golden_checks import cyclegan, losses, networks, perceptual, training
from golden_checks.fixture import Fixture, Unsupported

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "tests/golden", ROOT.parent / "shared/golden"]

CHECKS: dict[tuple[str, str], Callable[[Fixture], None]] = {  # by family and official class
    ("junyanz", "UnetGenerator"): networks.check_network,
    ("junyanz", "ResnetGenerator"): networks.check_network,
    ("junyanz", "NLayerDiscriminator"): networks.check_network,
    ("junyanz", "PixelDiscriminator"): networks.check_network,
    ("junyanz", "GANLoss"): losses.check_junyanz_loss,
    ("junyanz", "cal_gradient_penalty"): losses.check_gradient_penalty,
    ("junyanz", "ImagePool"): losses.check_image_pool,
    ("junyanz", "get_scheduler"): losses.check_schedule,
    ("junyanz", "Pix2PixModel"): training.check_pix2pix,
    ("junyanz", "CycleGANModel"): cyclegan.check_cyclegan,
    (
        "biggan",
        "loss_hinge_dis, loss_hinge_gen, loss_dcgan_dis, loss_dcgan_gen",
    ): losses.check_biggan_losses,
    ("biggan", "ortho, default_ortho"): losses.check_biggan_orthogonal,
    ("sr", "GANLoss"): losses.check_sr_loss,
    ("spade", "GANLoss / KLDLoss"): losses.check_spade_losses,
    ("lpips", "LPIPS"): perceptual.check_lpips,
}
for module in pkgutil.iter_modules(golden_checks.__path__):  # one file for each further family
    family = importlib.import_module(f"golden_checks.{module.name}")
    own = getattr(family, "CHECKS", {})
    CHECKS.update({(module.name, kind): check for kind, check in own.items()})


def fixtures_of(folder: str | None) -> list[Path]:
    """All fixtures of the given folder, or of the repository and the full set beside it."""
    folders = [Path(folder)] if folder else FOLDERS
    found = {path.name: path for f in folders for path in sorted(f.glob("*.safetensors"))}
    if not found:
        raise pytest.UsageError(
            f"--golden: {folders[0]} holds no .safetensors file; name a folder of fixtures"
        )
    return [found[name] for name in sorted(found)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each fixture."""
    if "path" in metafunc.fixturenames:
        paths = fixtures_of(metafunc.config.getoption("golden"))
        metafunc.parametrize("path", paths, ids=[path.stem for path in paths])


def test_fixture(path: Path, record_property: Callable[[str, str], None]) -> None:
    record_property("golden", path.stem)
    torch.manual_seed(0)
    fixture = Fixture.read(path)
    kind = fixture.meta.get("source_class", "")
    check = CHECKS.get((fixture.family, kind))
    if check is None:
        pytest.skip(f"{kind} is not in the package yet")
    try:
        check(fixture)
    except Unsupported as reason:
        assert not fixture.faults, "\n".join(fixture.faults)
        pytest.skip(str(reason))
    fixture.finish()
