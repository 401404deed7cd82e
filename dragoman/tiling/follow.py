"""Follows a system at work: which lines of its input each value it makes depends on.

Nothing is computed: tensors have no memory (device "meta"), and every operation of PyTorch that
runs is answered by a rule for the spans of its result. An operation without a rule is refused, so
that what is found is never too little.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from dragoman.tiling import spans as rules
from dragoman.tiling.spans import Spans, Untileable


class Operation:
    """One operation of PyTorch as it ran, with its arguments by name."""

    def __init__(self, func: Any, args: Any, kwargs: Any, made: Any, known: Any) -> None:
        self.func, self.made, self.known = func, made, known
        self.name = func._schema.name.removeprefix("aten::")
        self.arguments: dict[str, Any] = {}
        for number, argument in enumerate(func._schema.arguments):
            given = args[number] if number < len(args) else argument.default_value
            self.arguments[argument.name] = kwargs.get(argument.name, given)

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def source(self) -> Tensor:
        """The first tensor it was given."""
        return next(v for v in tree_leaves(self.arguments) if isinstance(v, Tensor))

    @property
    def first(self) -> Spans:
        """Spans of the first tensor it was given."""
        found = self.known.get(self.source)
        return self.everything if found is None else found

    @property
    def shape(self) -> list[int]:
        """Shape of the (first) tensor it made."""
        return list(next(v for v in tree_leaves(self.made) if isinstance(v, Tensor)).shape)

    @property
    def inputs(self) -> list[Spans]:
        """Spans of all tensors that it was given and that depend on the picture."""
        given = [v for v in tree_leaves(self.arguments) if isinstance(v, Tensor)]
        return [self.known[v] for v in given if v in self.known]

    @property
    def everything(self) -> Spans:
        """Depends on all that any of its inputs depends on."""
        return rules.constant(self.inputs, self.shape)


def _pair(value: Any) -> list[int]:
    value = [value] if isinstance(value, int) else list(value)
    return value if len(value) == 2 else value * 2


def _convolution(op: Operation) -> Spans:
    if op["weight"] in op.known or (op["bias"] is not None and op["bias"] in op.known):
        return op.everything
    axes = op["weight"].dim() - 2
    kernel, made = list(op["weight"].shape[2:]), op.shape[2:]
    each = [list(op[k]) * (axes if len(op[k]) == 1 else 1) for k in _GEOMETRY]
    mixed = rules.reduced(op.first, [1], True)  # every channel sees all, if not in its group
    rule = rules.transposed if op["transposed"] else rules.windowed
    return rule(mixed, kernel, *each, made)


_GEOMETRY = ("stride", "padding", "dilation")


def _pooling(op: Operation) -> Spans:
    kernel = _pair(op["kernel_size"])
    stride = _pair(op["stride"] or kernel)
    dilation = _pair(op.arguments.get("dilation", 1))
    return rules.windowed(op.first, kernel, stride, _pair(op["padding"]), dilation, op.shape[-2:])


def _resampling(op: Operation) -> Spans:
    linear = "align_corners" in op.arguments
    if linear and op["align_corners"]:
        raise Untileable("enlarges by corners, so that every place depends on the picture's size")
    more = [False] if linear else []
    before = rules.widened(op.first, 2) if "bicubic" in op.name else op.first
    return rules.resampled(
        before, op.shape[-2:], lambda ramp, sides: op.func(ramp, sides, *more, None, None), linear
    )


def _concatenation(op: Operation) -> Spans:
    parts, dim = op["tensors"], op["dim"]
    parts = [p for p in parts if p.shape != (0,)]  # an empty one of any rank may be laid on
    shapes = [list(p.shape) for p in parts]
    if op.name == "stack":
        dim %= len(shapes[0]) + 1
        shapes = [[*s[:dim], 1, *s[dim:]] for s in shapes]
    laid = []
    for part, shape in zip(parts, shapes, strict=True):
        found = op.known.get(part)
        if found is None:
            found = tuple(torch.full([1] * len(shape), rules.NOTHING).double() for _ in range(4))
        elif op.name == "stack":
            found = tuple(line.unsqueeze(dim) for line in found)
        laid.append(found)
    return rules.concatenated(laid, shapes, dim)


def _view(op: Operation) -> Any:
    """Runs the operation itself on the spans."""
    rest = [op[a.name] for a in op.func._schema.arguments[1:] if not a.kwarg_only]
    return rules.moved(op.first, op.source.shape, lambda part: op.func(part, *rest))


def _turned(op: Operation) -> Spans:
    rest = [op[a.name] for a in op.func._schema.arguments[1:]]
    return tuple(op.func(part, *rest) for part in op.first)  # lines of length 1 stay as they are


def _repetition(op: Operation) -> Spans:
    shape = [1] * (len(op.shape) - op.source.dim())
    parts = [part.reshape(shape + list(part.shape)) for part in op.first]
    return tuple(
        part.repeat([n if s > 1 else 1 for n, s in zip(op["repeats"], part.shape, strict=True)])
        for part in parts
    )


def _reduction(op: Operation) -> Spans:
    dims = op.arguments.get("dim")
    if dims is None or dims == []:
        dims = list(range(op.source.dim()))
    return rules.reduced(
        op.first, [dims] if isinstance(dims, int) else dims, op.arguments.get("keepdim", False)
    )


def _along(op: Operation) -> Spans:
    """Every value along a dimension depends on all of them, as in a softmax."""
    return rules.reduced(op.first, [op["dim"]], True)


def _normalising(op: Operation) -> Spans:
    """Layers that normalise by their own input; those of running statistics are pointwise."""
    rank = op.source.dim()
    if "batch_norm" in op.name:
        fixed = op.name.endswith("no_training") or not op.arguments.get("training", True)
        dims = [] if fixed else [dim for dim in range(rank) if dim != 1]
    elif op.name == "native_group_norm":
        dims = list(range(1, rank))
    else:
        dims = [rank - 1 - n for n in range(len(op["normalized_shape"]))]
    return rules.reduced(op.first, dims, True)


def _product(op: Operation) -> Spans:
    names = ("batch1", "batch2") if op.name == "baddbmm" else ("mat1", "mat2")
    left, right = (op.known.get(op[n]) for n in (names if "add" in op.name else ("self", "mat2")))
    parts = rules.multiplied(left, right)
    if "add" in op.name and op["self"] in op.known:
        parts.append(op.known[op["self"]])
    return rules.joined(parts, op.shape)


def _pointwise(op: Operation) -> Spans:
    return rules.joined(op.inputs, op.shape)


def _padding(mode: str) -> Callable[[Operation], Spans]:
    name = "pad" if mode == "constant" else "padding"
    return lambda op: rules.padded(op.first, op[name], mode)


RULES: dict[str, Callable[[Operation], Any]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pooling,
    "avg_pool2d": _pooling,
    "cat": _concatenation,
    "stack": _concatenation,
    "_to_copy": _pointwise,
    "_prelu_kernel": _pointwise,
    "native_dropout": _pointwise,
    "copy_": _pointwise,
    "repeat": _repetition,
    "constant_pad_nd": _padding("constant"),
    "reflection_pad2d": _padding("reflect"),
    "replication_pad2d": _padding("replicate"),
    "reflection_pad1d": _padding("reflect"),
    "replication_pad1d": _padding("replicate"),
    "pixel_shuffle": lambda op: rules.shuffled(op.first, op["upscale_factor"]),
    "pixel_unshuffle": lambda op: rules.windowed(
        rules.reduced(op.first, [-3], True),
        _pair(op["downscale_factor"]),
        _pair(op["downscale_factor"]),
        [0, 0],
        [1, 1],
        op.shape[-2:],
    ),
    "glu": _along,
    **dict.fromkeys(
        ("view", "_unsafe_view", "reshape"),
        lambda op: rules.viewed(op.first, op.source.shape, op.shape),
    ),
    **dict.fromkeys(
        ("slice", "select", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand"), _view
    ),
    **dict.fromkeys(
        ("split", "split_with_sizes", "unbind", "unfold", "alias", "detach", "diagonal"), _view
    ),
    **dict.fromkeys(("flip", "roll"), _turned),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "prod", "argmax"), _reduction),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean", "argmin", "any", "all"), _reduction),
    **dict.fromkeys(("linalg_vector_norm", "logsumexp", "aminmax"), _reduction),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax", "cumsum"), _along),
    **dict.fromkeys(("upsample_nearest2d", "_upsample_nearest_exact2d"), _resampling),
    **dict.fromkeys(("upsample_bilinear2d", "upsample_bicubic2d"), _resampling),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit"), _normalising),
    **dict.fromkeys(("_native_batch_norm_legit_no_training", "native_group_norm"), _normalising),
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm"), _normalising),
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm"), _product),
}
PLACES = ("arange", "linspace")  # who makes these may know where in the picture he is
VALUELESS = ("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like")


class Follower(TorchDispatchMode):
    """Within it, `known` holds the spans of every tensor that depends on the picture.

    `memory`: bytes of the tensors that lived at once, at most.
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self.known = WeakTensorKeyDictionary()
        self.known[picture] = rules.of_picture(*picture.shape[-2:])
        self.sides = picture.shape[-2:]
        self.memory = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note what its result depends on."""
        made = func(*args, **(kwargs or {}))
        op = Operation(func, args, kwargs or {}, made, self.known)
        if op.name in PLACES:
            rows, columns = self.sides
            ends = torch.tensor([0.0, rows - 1, 0.0, columns - 1], dtype=torch.float64)
            self.known[made] = tuple(end.reshape([1] * made.dim()) for end in ends)
        elif op.inputs and op.name not in VALUELESS and not op.name.startswith("new_"):
            self._note(op)
        self._weigh()
        return made

    def _note(self, op: Operation) -> None:
        rule = self._rule(op)
        if op.func._schema.is_mutable:
            self._check_in_place(op, rule(op))
        found = rule(op)
        outputs = [v for v in tree_leaves(op.made) if isinstance(v, Tensor)]
        if isinstance(found, tuple):
            found = [found] * len(outputs)
        for output, own in zip(outputs, found, strict=True):
            if own[0].dim() != output.dim():
                own = rules.constant([own], output.shape)
            elif output.dim() == 4:
                own = rules.at_home(own, output.shape, self.sides)
            self.known[output] = own

    def _rule(self, op: Operation) -> Callable[[Operation], Any]:
        name = op.name
        rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
        if rule is None and torch.Tag.pointwise in op.func.tags:
            rule = _pointwise
        if rule is None and name in ("fill_", "zero_", "bernoulli_", "bernoulli", "uniform_"):
            rule = _pointwise
        if rule is None:
            raise Untileable(f"uses the operation {name}, whose reach is not known")
        return rule

    def _check_in_place(self, op: Operation, found: Spans) -> None:
        """What changes a tensor must not change what views of it, or its base, depend on."""
        changed = op.source
        before = self.known.get(changed)
        if before is not None and all(
            torch.equal(*pair) for pair in zip(before, found, strict=True)
        ):
            return
        shared = changed._base is not None or any(
            other._base is changed for other in self.known if other is not changed
        )
        if shared:
            raise Untileable("writes into parts of a tensor")

    def _weigh(self) -> None:
        sizes = {}
        for tensor in self.known:
            whole = tensor if tensor._base is None else tensor._base
            sizes[id(whole)] = whole.numel() * whole.element_size()
        self.memory = max(self.memory, sum(sizes.values()))
