"""What the data sets share that are built of installed packages, in editions of one size each."""

from abc import abstractmethod

from dragoman.data.catalogue import DATASETS, Edition, set_name, stacks
from dragoman.data.many_domains import Aligned
from dragoman.data.settings import DataSettings


class Embedded(Aligned):
    """One or two domains of a data set in one edition.

    name: of the edition. domains: their names, or those of layers joined by +, for each key.
    joined: of any number of domains, each under its own name, which are to become one key.
    """

    def __init__(
        self,
        name: str,
        edition: Edition,
        domains: list[str],
        settings: DataSettings,
        joined: bool = False,
    ) -> None:
        self.edition, self.tile = edition, edition.tile
        self._unpaired = settings.pairing == "unpaired"
        self.name = set_name(name, domains, self._unpaired, joined)
        side = settings.size or edition.size
        self.size = (side, side)
        self.shapes = [self.size]
        self.check_size(self.size)
        self.domains = stacks(DATASETS[edition.family], domains, joined)
        self._open(name, domains)

    @abstractmethod
    def _open(self, name: str, domains: list[str]) -> None:
        """Open the arrays of the edition of that name, which are built at the first call."""

    def partners(self, split: str) -> bool:
        """False for unpaired training; held-out pictures always keep their partners."""
        return not self._unpaired or split != "train"
