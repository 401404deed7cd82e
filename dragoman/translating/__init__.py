"""Using a translator on many pictures: found, read, translated and written at once, in order."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dragoman.translating.job import translate

__all__ = ["translate"]


def __getattr__(name: str) -> Any:
    """Load `translate` only now: it imports the translator, which imports parts of this package."""
    if name != "translate":
        raise AttributeError(f"module 'dragoman.translating' has no attribute '{name}'")
    from dragoman.translating.job import translate

    return translate
