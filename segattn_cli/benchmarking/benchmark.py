"""What can be timed: a case is a computation that two sides do on the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Shape = tuple[int, ...]


class Implementation(Protocol):
    """One side of a comparison, with its inputs ready: what is timed is a call of one of its works.

    Works are called in order: "backward" after "forward". A GPU may still be busy when a call returns: the clock
    waits for it.
    """

    @property
    def works(self) -> Mapping[str, Callable[[], None]]: ...

    def results(self) -> Any:
        """What the last calls computed, as NumPy arrays in their own dtype and the project's order of axes."""


#: Variants by what they are called; each is made when it is called for.
Variants = Iterable[tuple[str, Callable[[], Implementation]]]


@dataclass(frozen=True)
class Benchmark:
    """One subject at one shape in one precision; it can be pickled, and its sides draw inputs only when made."""

    suite: str
    subject: str  # an op, or a network
    shape: str
    groups: Sequence[Sequence[str]]  # works in order; those of a group are done in one way, others maybe in another
    operations: Callable[[], Mapping[str, int | None]]  # by work; a multiply-add is 2. None where there are none
    ours: Callable[..., Implementation]  # takes ops and a precision; with ``exact=True`` it computes in float64
    torch: Callable[..., Variants]  # those of PyTorch; takes ``device``, ``precision`` and ``compiled``
    difference: Callable[[Any, Any], str]  # our and their results in float32 → what is wrong with ours, or ""
    errors: Callable[[Any, Any], Mapping[str, float]]  # results and exact ones → how far off each work's are
    tolerances: Mapping[str, Mapping[str, float]]  # of these errors, by work and by precision
    precision: str = "float32"
    peer_bytes: Mapping[str, int] = field(default_factory=dict)  # peer → roughly its needs in float32, if large
    warm_up: Callable[[], Benchmark] | None = None  # loads and compiles what this one needs; None: the case itself
    once: bool = False  # too large for turns: each side runs once, in a process of its own
    device: str = ""  # "cuda" or "cpu" where it is for one kind only

    @property
    def works(self) -> list[str]:
        return [work for group in self.groups for work in group]

    @property
    def title(self) -> str:
        return f"{self.subject} {self.shape}"


def times(shape: Iterable[int]) -> str:
    """A shape to read.

    >>> times((2, 360, 480))
    '2×360×480'
    """
    return "×".join(map(str, shape))
