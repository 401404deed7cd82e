"""The translator: a saved system that is loaded with no further flag and used on pictures."""

import copy
import json
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from dragoman import __version__
from dragoman.checkpoint import write, write_text
from dragoman.controls import Controls, changed, check_offered, offered
from dragoman.data.credits import credits_of
from dragoman.engine import find_device
from dragoman.errors import DataError, DragomanError, SettingsError
from dragoman.report.card import model_card
from dragoman.saved import generating, read_domain, read_system
from dragoman.settings import own_values
from dragoman.system import Batch, System
from dragoman.tiling import Tiler, steady_noise
from dragoman.tiling.layout import mirrored_lines, padded
from dragoman.tiling.passage import out_of_memory, random_state
from dragoman.translating.cutting import Cutting, cutting
from dragoman.translating.kinds import Made, Picture, take, translate_taken
from dragoman.translating.references import reference_pictures

if TYPE_CHECKING:
    from dragoman.data import Data

APART = 1_000_003  # between the seeds of two answers


class Translator:
    """Makes pictures with a trained system; input and output may have any size.

    Few systems take one size only; they say so of all others. source, target: the domains it reads
    and writes. It may be used by several threads, of which one at a time runs the network; see
    `twin`.
    """

    def __init__(self, system: System, config: dict[str, Any], device: str = "auto") -> None:
        self.system, self.config = system.eval().requires_grad_(False), config
        self._find_domains()
        self._alone = threading.Lock()
        self._draws: list[bool] = []  # whether `generate` takes numbers of PyTorch's generator
        self.to(device)

    def _find_domains(self) -> None:
        domains, system = self.config["domains"], self.system
        self.source = read_domain(domains.get(system.source))
        self.target = read_domain(domains.get(system.target or system.source))

    def to(self, device: str) -> Self:
        """Move to a device: auto, cpu, cuda or cuda:N; returns itself."""
        self.device = find_device(device)
        self.system.to(self.device)
        self._tilers: dict[tuple[Cutting, int], Tiler] = {}
        return self

    def twin(self) -> "Translator":
        """Another one with the same weights in memory, to run in another thread meanwhile."""
        shared = [*self.system.parameters(), *self.system.buffers()]
        other = copy.copy(self)
        other.system = copy.deepcopy(self.system, {id(tensor): tensor for tensor in shared})
        other._tilers = {}
        return other

    @overload
    def __call__(self, picture: Image.Image, seed: int = ..., **how: Any) -> Image.Image: ...
    @overload
    def __call__(self, picture: Tensor, seed: int = ..., **how: Any) -> Tensor: ...
    @overload
    def __call__(
        self,
        picture: np.ndarray | str | Path | tuple[str | Path, ...],
        seed: int = ...,
        **how: Any,
    ) -> np.ndarray: ...
    def __call__(self, picture: Picture, seed: int = 0, **how: Any) -> Made:
        """Translate one picture and return one of the same kind and size.

        picture: a PIL picture; an array [H, W] or [H, W, C] of the depth it was trained on; a
        label map of class numbers [H, W]; a tensor [C, H, W] or [B, C, H, W] in [-1, 1]; or the
        path of a file, or a tuple of paths whose channels are stacked, for which an array comes
        back. Results have the depth, range and channels of the target domain; arrays of one
        channel are [H, W]. Of files and PIL pictures a system that fills holes fills what is
        fully transparent, if anything is.

        seed: of the system's noise. how: tile, the side in px of the tiles that larger pictures
        are cut into (0: never; without it pictures above 1.5 megapixels are, as memory allows),
        and context, overlap and norms, as of TileSettings. Raises DataError if the picture does
        not fit what the system was trained on, SettingsError for a wrong `how`.
        """
        return translate_taken(self, take(self, picture), cutting(**how), seed)

    def many(
        self,
        pictures: Iterable[Picture] | str | Path,
        seed: int = 0,
        batch: int = 1,
        workers: int | None = None,
        bad: Literal["raise", "give"] = "raise",
        **how: Any,
    ) -> Iterator[Made | DragomanError]:
        """Translate many pictures: yields what calling it with each would return, in order.

        Reading, the network and what comes after overlap in threads, so a few pictures are taken
        ahead. pictures: any mixture of what may be called with; or a folder, pattern or list as
        for `dragoman translate`. batch: pictures of equal size that the network takes at once;
        floats may then differ in their last digits. workers: threads for reading. bad: "give"
        yields the error in the place of a picture that cannot be translated, instead of raising.
        """
        from dragoman.translating.many import translate_all

        return translate_all(self, pictures, seed, batch, workers, bad, cutting(**how))

    def answers(self, picture: Picture, count: int, seed: int = 0, **how: Any) -> list[Made]:
        """Return so many different answers for one picture, each as calling would return it.

        Raises SettingsError if the system cannot give that many.
        """
        return [self.answering(number)(picture, seed, **how) for number in range(count)]

    def answering(self, number: int) -> "Translator":
        """Another translator with the same weights, which gives answer `number` (from 0).

        Systems with heads have so many answers; systems with noise draw another one for each.
        Raises SettingsError if there is no such answer.
        """
        most = self.system.answers
        if number < 0 or (most is not None and number >= most):
            raise SettingsError(
                f"{self.config['system']} as it was trained has "
                + (f"{most} different answers" if most != 1 else "one answer")
                + f" for a picture, counted from 0; there is no answer {number}"
            )
        return self._going_by(replace(self.system.controls, answer=number))

    def choosing(self, **chosen: Any) -> "Translator":
        """Another translator with the same weights that makes what these controls say.

        Which there are depends on the system: `to` is the domain to be made, for one that
        translates both ways; pictures of a look that is wanted are files, arrays or tensors. What
        is not named stays as it is. Raises SettingsError for unknown controls and values,
        DataError for pictures that do not fit.
        """
        kind, name = self.system.Controls, self.config["system"]
        check_offered(name, kind, chosen)
        shown = {k: v for k, v in chosen.items() if offered(kind)[k] and v is not None}
        other = self._going_by(
            changed(self.system.controls, {k: v for k, v in chosen.items() if k not in shown})
        )
        if not shown:
            return other
        size = self.system.facts.size
        brought = {k: reference_pictures(v, other.target, size) for k, v in shown.items()}
        return other._going_by(replace(other.system.controls, **brought))

    def _going_by(self, controls: Controls) -> "Translator":
        other = self.twin()
        other._draws = []  # what draws no noise may do so with other controls
        other.system.choose(controls)
        other._draws = []  # with a style that is shown it may draw nothing, or else begin to
        other._find_domains()
        return other

    def _seed(self, seed: int) -> int:
        """The seed of the noise of this translator's answer."""
        return (seed + APART * self.system.controls.answer) % (1 << 63)

    def check(self, pictures: Tensor) -> None:
        """Raise DataError unless [B, C, H, W] is what the network reads, in [-1, 1]."""
        wanted = self.system.facts.channels[self.system.source]
        if pictures.dim() != 4 or pictures.shape[1] != wanted:
            raise DataError(
                f"this translator reads pictures of {wanted} channels, "
                f"this one has shape {list(pictures.shape)}"
            )
        if 0 in pictures.shape:
            raise DataError(f"the picture is empty: its shape is {list(pictures.shape)}")
        self.check_size(*pictures.shape[2:])
        if not pictures.is_floating_point() or not pictures.abs().max() <= 1 + 1e-4:
            raise DataError(
                "a tensor must hold floats in [-1, 1], as in pixels / 127.5 - 1; "
                f"this one is {pictures.dtype} from {pictures.min():g} to {pictures.max():g}"
            )

    @property
    def fills(self) -> bool:
        """Whether it fills what is fully transparent in a picture."""
        return self.system.takes_hole and self.source.alpha != "keep"

    def check_size(self, height: int, width: int) -> None:
        """Raise DataError if the system takes pictures of one size only, and this is another."""
        high, wide = self.system.facts.size
        if not self.system.any_size and (height, width) != (high, wide):
            raise DataError(
                f"the picture is {width}x{height} pixels, but this {self.config['system']} was "
                f"trained on pictures of {wide}x{high} and takes no others; resize it to that"
            )

    def translate(self, pictures: Tensor, seed: int = 0, hole: Tensor | None = None) -> Tensor:
        """Translate [B, C, H, W] in [-1, 1] in one piece; returns float32 on the CPU.

        Of any height and width: it is mirrored up to the network's stride and cut back. All
        pictures of a batch have the same noise, which depends on seed and place alone. hole:
        [B, 1, H, W], 1 where pixels are to be filled in, for systems that do. Raises DataError.
        """
        self.check(pictures)
        self._check_hole(pictures, hole)
        batch = {self.system.source: pictures.float()} | ({} if hole is None else {"hole": hole})
        if len(pictures) > 1 and self.system.answers is None:  # each draws its noise as if alone
            parts = zip(*(value.split(1) for value in batch.values()), strict=True)
            return torch.cat([self._at_once(dict(zip(batch, p, strict=True)), seed) for p in parts])
        return self._at_once(batch, seed)

    def _check_hole(self, pictures: Tensor, hole: Tensor | None) -> None:
        if hole is None:
            return
        if not self.system.takes_hole:
            name = self.config["system"]
            raise DataError(f"this {name} fills no holes of one's own; leave the hole out")
        wanted = [len(pictures), 1, *pictures.shape[2:]]
        if list(hole.shape) != wanted:
            raise DataError(f"the hole must have the shape {wanted}, it has {list(hole.shape)}")

    def _at_once(self, batch: Batch, seed: int) -> Tensor:
        stride, least = self.system.stride, min(self.system.facts.size)
        height, width = batch[self.system.source].shape[2:]
        padded = {key: pad(value, stride, least) for key, value in batch.items()}
        seed = self._seed(seed)
        with self._own_random(seed), steady_noise(self.system, seed):
            made = self.generate(padded)
        scale = made.shape[-1] // padded[self.system.source].shape[-1] or 1
        return made[..., : height * scale, : width * scale]

    def tried(
        self, pictures: Tensor, cut: Cutting, seed: int, hole: Tensor | None = None
    ) -> Tensor | None:
        """As `translate`; None if memory does not suffice and tiles may help.

        Raises DataError if they must not be tried.
        """
        try:
            return self.translate(pictures, seed, hole)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if cut.never or not self.system.any_size:
                height, width = pictures.shape[2:]
                remedy = ", which --tile 0 asks for; leave that out" if cut.never else ""
                raise DataError(
                    f"memory does not suffice for a picture of {width}x{height} pixels in one "
                    f"piece{remedy or '; use a smaller --batch or --device cpu'}"
                ) from None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    @torch.no_grad()
    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        """The system's pictures for a batch, float32 on the CPU."""
        batch = {key: value.to(self.device) for key, value in batch.items()}
        return self.system.generate(batch, controls).float().cpu()

    def cuts(self, size: tuple[int, int], cut: Cutting) -> bool:
        """True if a picture of that height and width is to be cut into tiles."""
        channels = max(self.source.channels, self.target.channels)
        return self.system.any_size and cut.cuts(*size, channels)

    def tile(
        self,
        read: Callable[[int, int, int, int], Tensor],
        write: Callable[[int, int, Tensor], None],
        size: tuple[int, int],
        cut: Cutting,
        seed: int,
        say: Callable[[str], None] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Translate a picture of size (height, width) in tiles; see `Tiler.run`."""
        # A tiler has random numbers of its own, but on loan from the generator of all threads.
        with nullcontext() if self._draws == [False] else self._alone:
            self._tiler(cut, seed).run(read, write, *size, say, progress)

    def scale(self, cut: Cutting, seed: int) -> int | None:
        """How many times larger outputs are than inputs; None if that is only seen afterwards."""
        reach = self._tiler(cut, seed).reach
        return None if reach is None else reach.scale

    def _tiler(self, cut: Cutting, seed: int) -> Tiler:
        seed = self._seed(seed)
        key = (cut, seed)
        if key not in self._tilers:  # only the latest: a tiler is soon made again
            self._tilers = {key: Tiler(self.system, self.device, cut.settings, seed)}
        return self._tilers[key]

    @contextmanager
    def _own_random(self, seed: int) -> Generator[None]:
        """Let PyTorch's generator, which all threads share, begin at a seed; then put it back.

        If the first run did not draw from it, no other will: they go without, side by side.
        """
        if self._draws == [False]:
            yield
            return
        with self._alone, drawing(seed, self.device):
            before = random_state(self.device)
            yield
            self._draws[:] = [not torch.equal(before, random_state(self.device))]

    def save(self, folder: str | Path) -> Path:
        """Write the translator as a folder in Hub layout and return its path."""
        folder = Path(folder)
        kept = {n: t.cpu().contiguous() for n, t in generating(self.system).items()}
        metadata = {"format": "pt"}
        write(folder / "model.safetensors", lambda file: save_file(kept, file, metadata=metadata))
        write_text(folder / "config.json", json.dumps(self.config, indent=1) + "\n")
        self.write_card(folder, None)
        return folder

    def write_card(self, folder: Path, scores: dict[str, Any] | None) -> None:
        """Write the model card, with scores if there are any."""
        card = model_card(
            self.config,
            scores,
            self.config["credits"],
            self.system.any_size,
            bool(self.system.examples),
        )
        write_text(folder / "README.md", card)


@contextmanager
def drawing(seed: int, device: torch.device) -> Generator[None]:
    """Let PyTorch's generator begin at a seed; then put it back."""
    # named, since it would else wake all GPUs of the machine
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def pad(pictures: Tensor, stride: int, least: int) -> Tensor:
    """Mirror [B, C, H, W] below and to the right up to multiples of `stride`, at least `least`."""

    def mirrored(size: int, dim: int) -> Tensor:
        wanted = padded(size, stride, least)
        if wanted == size:
            return pictures
        return pictures.index_select(dim, mirrored_lines(0, wanted, size).to(pictures.device))

    height, width = pictures.shape[2:]
    pictures = mirrored(height, 2)
    return mirrored(width, 3)


def save_translator(
    folder: Path, system: System, data: "Data", name: str, values: dict[str, Any]
) -> None:
    """Save what a run has learned so far as a translator; `system` is the one that generates."""
    own = own_values(type(system).Settings, values)
    config = {
        "library": "dragoman",
        "version": __version__,
        "system": name,
        "settings": own,
        "facts": asdict(system.facts),
        "domains": {key: asdict(domain) for key, domain in data.domains.items()},
        "data": data.name,
        "training": {k: v for k, v in values.items() if k not in own},
        "credits": credits_of(values["data"]),
    }
    translator = Translator.__new__(Translator)  # not moved, not frozen: training goes on
    translator.system, translator.config = system, json.loads(json.dumps(config))
    translator.save(folder)


def load(folder: str | Path, device: str = "auto") -> Translator:
    """Load a translator from a run, a saved translator folder or a Hub repository name.

    Everything it needs is in the folder; nothing in it is ever run.
    Raises FileError if it is missing, damaged or not a translator.
    """
    system, config = read_system(folder)
    return Translator(system, config, "cpu").to(device)
