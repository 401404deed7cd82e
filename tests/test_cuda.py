"""What every system of the registry must do on a GPU; skipped where torch finds none."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from synthetic import batches, make, picture_batch, shown
from test_every_system import final_state, leaves, settings

from dragoman.engine import Engine
from dragoman.systems import SYSTEMS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")

every_system = pytest.mark.parametrize("name", SYSTEMS)


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Convolutions in full float32, to be compared with the CPU's."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@every_system
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_terms_are_finite_on_the_gpu(name: str, precision: str) -> None:
    heard: list[Any] = []
    how = settings(precision=precision, device="cuda")
    engine = Engine(make(name), how, 2, lambda *told: heard.append(told))
    for _ in engine.run(batches):
        pass
    assert heard
    for _, turn, terms in heard:
        assert terms, f"{turn} has no terms"
        assert all(t.device.type == "cuda" and t.isfinite() for t in terms.values())


@every_system
def test_a_cut_run_equals_the_whole_run_on_the_gpu(name: str) -> None:
    whole = dict(leaves(final_state(name, device="cuda")))
    pieces = dict(leaves(final_state(name, cut=3, device="cuda")))
    assert whole.keys() == pieces.keys()
    for path, value in whole.items():
        same = torch.equal(value, pieces[path]) if torch.is_tensor(value) else value == pieces[path]
        assert same, path


@every_system
def test_the_gpu_makes_the_same_pictures(name: str) -> None:
    """Of one answer: several come of random numbers, which the devices draw differently."""
    engine = Engine(make(name), settings(device="cuda"), 2)
    for _ in engine.run(batches):
        pass
    batch = picture_batch(5)
    with engine.generating() as system:
        made = shown(system).generate(engine.to_device(batch)).cpu()
        if system.answers != 1:
            assert made.isfinite().all()
            return
        system.cpu()
        again = shown(system).generate(batch)
    torch.testing.assert_close(made, again, rtol=1e-3, atol=1e-3)
