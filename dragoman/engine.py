"""The one training loop: for every stage, for every batch, each turn that is due is taken."""

import copy
import functools
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dragoman import checkpoint, processes
from dragoman.accumulation import Accumulation
from dragoman.errors import FileError, SettingsError, TrainingError
from dragoman.schedules import SCHEDULES
from dragoman.settings import knob
from dragoman.system import Batch, Progress, Stage, System, Terms, Turn

RUNNING = ("running_mean", "running_var")  # of norms: buffers that are averaged as weights are


@dataclass(frozen=True)
class EngineSettings:
    """How long, how exactly and where a system is trained."""

    steps: int | None = knob(None, "steps of training in all", 1)
    minutes: float | None = knob(
        None, "minutes of training: the step is timed first, then steps are fixed; default 5", 0.01
    )
    seed: int = knob(0, "seed of everything random", 0, 2**31 - 1)
    schedule: Literal["constant", "linear", "late", "cosine", "step", "halving", "tenths"] = knob(
        "constant",
        "the learning rate's course; linear is constant for half, then falls to 0; late: for three "
        "quarters; step: a tenth from half-way on; halving: at 1/8, 1/4, 1/2 and 3/4; tenths: "
        "halved after every tenth",
    )
    average: float = knob(
        0.999, "decay per step of the moving average used to generate; 0: none", 0, 0.999999
    )
    average_warmup: bool = knob(True, "let the average forget faster at the start")
    accumulate: int = knob(1, "parts in which a batch is taken, to save memory", 1)
    clip: float | None = knob(None, "largest norm of a turn's gradient; default: not clipped", 1e-9)
    precision: Literal["auto", "fp32", "bf16"] = knob(
        "auto", "auto: bf16 where the device gains by it (GPUs, newer CPUs); weights stay fp32"
    )
    compile: bool = knob(False, "compile the networks first (torch.compile): pays in long runs")
    deterministic: bool = knob(True, "the same seed gives the same weights, at some cost on GPUs")
    device: str = knob("auto", "auto, cpu, cuda or cuda:N")


class NotFinite(TrainingError):
    """A term became NaN or infinite; holds the batch that did it."""

    def __init__(self, turn: str, name: str, step: int, batch: Batch) -> None:
        super().__init__(
            f"the term '{turn}.{name}' is no longer finite at step {step}; "
            "try a lower --lr, --clip 1 or --precision fp32"
        )
        self.turn, self.term, self.step, self.batch = turn, name, step, batch


def find_device(name: str) -> torch.device:
    """Return the wanted device, or the best there is for "auto"."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"--device {name} is unknown; use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"--device {name}: torch finds no CUDA device here; use --device cpu")
    return device


def computes_bf16(device: torch.device) -> bool:
    """True if the device has bf16 arithmetic that is faster than its fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # The bf16 products of AVX-512 gain on AMD's processors, not on Intel's, whose AMX tiles do.
    has = getattr(torch.cpu, "get_capabilities", dict)()
    products = has.get("avx512_bf16") and str(has.get("cpu_name", "")).startswith("AMD")
    return bool(has.get("amx_bf16") or products)


def _counted(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def check_compiler(device: torch.device) -> None:
    """Raise SettingsError if torch.compile would find no C++ compiler for the CPU."""
    known = [os.environ.get("CXX", ""), "g++", "clang++"]
    if device.type == "cpu" and not any(shutil.which(name) for name in known if name):
        raise SettingsError(
            "--compile needs a C++ compiler on the CPU; install one (apt-get install g++) "
            "or leave --compile out"
        )


def close(batches: Iterator[Batch]) -> None:
    """End the thread of a loader's batches, if they have one."""
    getattr(batches, "close", lambda: None)()


def sum_of(terms: Terms) -> Tensor:
    """The sum of all terms, which is what a turn minimises."""
    return functools.reduce(torch.add, terms.values())


class Engine:
    """Takes every turn; owns device, precision, processes, optimizers, average and their state."""

    def __init__(
        self,
        system: System,
        settings: EngineSettings,
        steps: int,
        listen: Callable[[int, str, Terms], None] | None = None,
    ) -> None:
        """Make the engine ready for `steps` steps; `listen(step, turn, terms)` hears each turn."""
        self.settings, self.listen = settings, listen or (lambda step, turn, terms: None)
        self.device = find_device(settings.device)
        on_gpu = self.device.type == "cuda"  # where some layers have no deterministic form
        if settings.deterministic and on_gpu:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(settings.deterministic, warn_only=on_gpu)
        torch.utils.deterministic.fill_uninitialized_memory = False  # ty: ignore
        torch.backends.cudnn.benchmark = on_gpu and not settings.deterministic
        wanted = settings.precision
        self.bf16 = wanted == "bf16" or (wanted == "auto" and computes_bf16(self.device))
        layout = torch.channels_last if self.device.type == "cuda" else torch.preserve_format
        self.system = system.to(self.device, memory_format=layout)  # ty: ignore
        self.average = self._averaging()
        if settings.compile:
            check_compiler(self.device)
            for network in self.system.children():
                network.compile()
        self.stages = system.stages(steps)
        self.stage, self.step, self.done = 0, 0, 0  # done: steps of all stages
        self.rate = 1.0  # of the learning rates, by the schedule
        self.optimizers: dict[nn.Module, Optimizer] = {}

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def run(self, loader: Callable[..., Iterator[Batch]]) -> Iterator[int]:
        """Take all steps that are left; yields the number of steps done after each.

        loader(start, **overrides) gives the endless batches from batch number `start` on.
        """
        while self.stage < len(self.stages):
            stage = self.stages[self.stage]
            if self.step == 0:
                self.enter(stage)
            batches = loader(start=self.done, **stage.data)
            try:
                while self.step < stage.steps:
                    self.take_step(stage, self.to_device(next(batches)))
                    yield self.done
            finally:
                close(batches)
            self.stage, self.step = self.stage + 1, 0

    def to_device(self, batch: Batch) -> Batch:
        """Move a batch to the device."""
        return {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}

    def enter(self, stage: Stage) -> None:
        """Begin a stage with fresh optimizers."""
        stage.begin()
        self._fresh_optimizers(stage)

    def _fresh_optimizers(self, stage: Stage) -> None:
        networks = dict.fromkeys(n for turn in stage.turns for n in turn.networks)
        self.optimizers = {network: self.system.optimizer(network) for network in networks}

    def take_step(self, stage: Stage, batch: Batch) -> None:
        """Take every turn that is due, then move the average."""
        progress = Progress(self.step, stage.steps)
        begin, end = stage.course
        course = begin + (end - begin) * progress.fraction
        self.rate = SCHEDULES[self.settings.schedule](course)
        for group in (g for o in self.optimizers.values() for g in o.param_groups):
            group["lr"] = group.setdefault("base_lr", group["lr"]) * self.rate
        due = [turn for turn in stage.turns if turn.due(self.step)]
        parts = Accumulation(self, batch, progress, due)
        for turn in due:
            self.take_turn(turn, parts)
        processes.average(self._statistics())
        self.step, self.done = self.step + 1, self.done + 1
        self._move_average()

    def take_turn(self, turn: Turn, parts: Accumulation) -> None:
        """The turn's networks take one step down its loss."""
        networks = list(turn.networks)
        learning = [p for n in networks for p in n.parameters() if p.requires_grad]

        def descend() -> Tensor:
            for parameter in learning:
                parameter.grad = None
            terms: Terms = {}
            for batch, shared in parts.of(turn):
                with self.precision():
                    part = turn.loss(batch, shared)
                self._check_finite(turn, part, batch)
                share = len(next(iter(batch.values()))) / parts.size
                total = sum_of(part)
                # Nobody else learns: the gradient stops at these networks, losses need no detach.
                (total * share if share < 1 else total).backward(inputs=learning)
                for name, term in part.items():
                    terms[name] = terms.get(name, 0) + term.detach() * share
            processes.average([p.grad for p in learning if p.grad is not None])
            if self.settings.clip is not None:
                nn.utils.clip_grad_norm_(learning, self.settings.clip)
            self.listen(self.done, turn.name, terms)
            return sum_of(terms)

        if len(networks) == 1:  # a closure, for optimizers that evaluate the loss repeatedly
            self.optimizers[networks[0]].step(descend)  # ty: ignore
        else:
            descend()
            for network in networks:
                self.optimizers[network].step()

    def _check_finite(self, turn: Turn, terms: Terms, batch: Batch) -> None:
        """Raise NotFinite, in all processes if it is so in one, before anybody has learned."""
        values = torch.stack([term.detach().float() for term in terms.values()]).isfinite()
        if not processes.any_process(not bool(values.all()), self.device):
            return
        mine = [name for name, finite in zip(terms, values.tolist(), strict=True) if not finite]
        names = [name for found in processes.gather(mine) for name in found]
        raise NotFinite(turn.name, names[0], self.done, batch)

    def precision(self) -> torch.autocast:
        """The context in which shares and losses are computed."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _averaging(self) -> System:
        """A second system that owns copies of the averaged networks and shares all others."""
        if not self.settings.average:
            return self.system
        chosen = self.system.averaged()
        children = dict(self.system.named_children())
        if any(all(n is not child for child in children.values()) for n in chosen):
            raise TypeError("averaged() must name networks that are attributes of the system")
        mean = copy.copy(self.system)
        mean._modules = dict(self.system._modules)
        for name, network in children.items():
            if any(network is n for n in chosen):
                mean._modules[name] = copy.deepcopy(network).requires_grad_(False)
        return mean

    def _averaged_pairs(self) -> list[tuple[str, nn.Module, nn.Module]]:
        names = [name for name, _ in self.system.named_children()]
        pairs = [(n, self.average.get_submodule(n), self.system.get_submodule(n)) for n in names]
        return [(name, mean, network) for name, mean, network in pairs if mean is not network]

    @torch.no_grad()
    def _move_average(self) -> None:
        decay, taken = self.settings.average, self.step  # of this stage: what begins now to learn
        if self.settings.average_warmup:  # would else be held back by all the steps before
            decay = min(decay, (1 + taken) / (10 + taken))
        for _, mean, network in self._averaged_pairs():
            ours: list[Tensor] = [*mean.parameters()]
            theirs: list[Tensor] = [*network.parameters()]
            for held, now in zip(mean.named_buffers(), network.buffers(), strict=True):
                name, buffer = held
                # Averaged weights make averaged activations: the statistics of the last batches,
                # which norms keep, would not be theirs and would sway from step to step.
                if name.rpartition(".")[2] in RUNNING:
                    ours.append(buffer)
                    theirs.append(now)
                else:
                    buffer.copy_(now)
            torch._foreach_lerp_(ours, theirs, 1 - decay)

    def _statistics(self) -> list[Tensor]:
        """Buffers of running statistics, which processes must agree on."""
        if processes.world() == 1:
            return []
        own = self._modules_per_process()
        skip = {id(b) for module in own.values() for b in module.buffers()}
        return [b for b in self.system.buffers() if b.is_floating_point() and id(b) not in skip]

    def _modules_per_process(self) -> dict[str, nn.Module]:
        """Modules such as histories of fakes, of which each process has its own content."""
        named = self.system.named_modules()
        return {name: m for name, m in named if getattr(m, "per_process", False)}

    @contextmanager
    def generating(self, seed: int = 0) -> Generator[System]:
        """Lend the average for generating; training's mode and random numbers stay untouched."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad():
            torch.manual_seed(seed)
            self.average.eval()
            try:
                yield self.average
            finally:
                self.average.train()
                self.system.train()

    def state(self) -> dict[str, Any]:
        """All that must survive a kill; to be called by all processes."""
        names = {network: name for name, network in self.system.named_modules()}
        own = {
            "random": checkpoint.random_state(),
            "modules": {n: dict(m.state_dict()) for n, m in self._modules_per_process().items()},
        }
        return {
            "stage": self.stage,
            "step": self.step,
            "done": self.done,
            "system": dict(self.system.state_dict()),
            "average": {n: dict(m.state_dict()) for n, m, _ in self._averaged_pairs()},
            "optimizers": {names[n]: o.state_dict() for n, o in self.optimizers.items()},
            "processes": processes.gather(own),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state` was taken.

        Raises FileError if it belongs to another system or number of processes, SettingsError if
        a changed number of steps would change what is past.
        """
        try:
            count = len(state["processes"])
            if count != processes.world():
                raise FileError(
                    f"this run was trained by {_counted(count)}, now there is "
                    f"{_counted(processes.world())}; resume it with "
                    + (f"torchrun --nproc_per_node {count} -m " if count > 1 else "")
                    + "dragoman resume RUN"
                )
            self.stage, self.step, self.done = state["stage"], state["step"], state["done"]
            self._check_place()
            self.system.load_state_dict(state["system"])
            for name, mean, _ in self._averaged_pairs():
                mean.load_state_dict(state["average"][name])
            if self.step:
                self._fresh_optimizers(self.stages[self.stage])
            for name, saved in state["optimizers"].items() if self.step else ():
                self.optimizers[self.system.get_submodule(name)].load_state_dict(saved)
            own = state["processes"][processes.rank()]
            for name, module in self._modules_per_process().items():
                module.load_state_dict(own["modules"][name])
            checkpoint.set_random_state(own["random"])
        except (LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            told = shorten(str(error), 200, placeholder=" ...")
            raise FileError(
                "the checkpoint does not fit the run's settings; put settings.yaml and the data "
                f"back as they were, or train a new run ({told})"
            ) from error

    def _check_place(self) -> None:
        """Refuse a number of steps by which stages that are past would have been others."""
        past = sum(stage.steps for stage in self.stages[: self.stage]) + self.step
        if self.done > self.steps:
            raise SettingsError(
                f"this run has already taken {self.done} steps, --steps {self.steps} is less; "
                f"give at least {self.done}"
            )
        if past != self.done or self.step > self.stages[self.stage].steps:
            raise SettingsError(
                f"--steps {self.steps} would change the stages that are already past; "
                "resume without --steps, or train a new run with so many"
            )

    def all_finite(self) -> bool:
        """True if every parameter is finite, so that a checkpoint of them is worth having."""
        learned: Iterable[Tensor] = [p for p in self.system.parameters() if p.is_floating_point()]
        return all(bool(p.isfinite().all()) for p in learned)
