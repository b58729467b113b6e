"""What can be timed: a benchmark is a computation that two implementations do on the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Shape = tuple[int, ...]


class Implementation(Protocol):
    """One implementation of a benchmark, with its inputs ready: what is timed is a call of one of its passes.

    Passes are called in order: "backward" after "forward". A GPU may still be busy when a call returns: the clock
    waits for it.
    """

    @property
    def passes(self) -> Mapping[str, Callable[[], None]]: ...

    def results(self) -> Any:
        """The results of the last calls, as NumPy arrays in their own dtype and the project's order of axes."""


#: Implementations by name; each is made when it is called for.
Variants = Iterable[tuple[str, Callable[[], Implementation]]]


@dataclass(frozen=True)
class Benchmark:
    """One subject at one shape in one precision; it can be pickled, and draws inputs only for an implementation."""

    suite: str
    subject: str  # an op, or a network
    shape: str
    groups: Sequence[Sequence[str]]  # passes in order; the fastest variant is chosen for each group
    operations: Callable[[], Mapping[str, int | None]]  # by pass; a multiply-add is 2. None where there are none
    ours: Callable[..., Implementation]  # takes ops and a precision; with ``exact=True`` it computes in float64
    torch: Callable[..., Variants]  # those of PyTorch; takes ``device``, ``precision`` and ``compiled``
    difference: Callable[[Any, Any], str]  # our and their results in float32 → what is wrong with ours, or ""
    errors: Callable[[Any, Any], Mapping[str, float]]  # results and exact ones → the error of each pass
    tolerances: Mapping[str, Mapping[str, float]]  # of these errors, by pass and by precision
    precision: str = "float32"
    variant_bytes: Mapping[str, int] = field(default_factory=dict)  # roughly what large variants need in float32
    warm_up: Callable[[], Benchmark] | None = None  # loads and compiles what this one needs; None: the same
    once: bool = False  # too large to alternate: each implementation runs once, in a process of its own
    device: str = ""  # "cuda" or "cpu" where it is for one kind only
    inference: Callable[[], Benchmark] | None = None  # of a network: the same, without the pass "train"
    runtime: Callable[[str], Variants] | None = None  # of a network: those of a runtime of exported models, by name

    @property
    def passes(self) -> list[str]:
        return [each for group in self.groups for each in group]

    @property
    def title(self) -> str:
        return f"{self.subject} {self.shape}"


def times(shape: Iterable[int]) -> str:
    """A shape to read.

    >>> times((2, 360, 480))
    '2×360×480'
    """
    return "×".join(map(str, shape))
