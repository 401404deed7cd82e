"""What systems share whose pictures have a style: drawn, or that of a reference picture."""

from torch import Tensor

from dragoman import controls as choices
from dragoman.system import System


class Styled(System):
    """Makes pictures in a style [1, S], which one may also take, mix and give back."""

    held: Tensor | None = None  # the style that `generate` goes by instead of another, [1, S]

    def style(self, like: Tensor) -> Tensor:
        """The style [1, S] of what is chosen: shown, or drawn by torch's default generator.

        like: pictures [B, C, H, W] of the floats and on the device that it is wanted for.
        """
        raise NotImplementedError

    def hold(self, style: Tensor | None) -> None:
        """Let `generate` go by this style until something is chosen; None: by its own again."""
        self.held = style

    def choose(self, controls: choices.Controls) -> None:
        super().choose(controls)
        self.held = None
