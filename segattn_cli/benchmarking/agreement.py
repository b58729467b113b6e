"""Whether both implementations compute the same numbers, which is checked before they are timed.

On a CPU the two are compared. On a GPU, where products may round their factors, two correct implementations may
differ by more than a mistake, so each is compared with the same computation in float64: see :func:`too_far`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

#: Tolerance relative to an op's largest value.
OP = 1e-4
#: Tolerances relative to the loss, to the largest score, and to each gradient's norm. Random images and labels make
#: small gradients of large terms, whose rounding grows with the depth: up to 5 % of a norm in ResNet-50. A wrong
#: gradient is off by far more.
LOSS, SCORES, GRADIENT = 1e-4, 1e-3, 0.15
#: The fraction of pixels whose predicted class may differ, as it does where two scores are equal but for rounding.
LABELS = 0.01
#: Of the largest gradient's norm, which counts for all. The key's bias shifts whole rows of energies, so that its
#: gradient is 0 but for rounding.
FLOOR = 1e-5

#: How far a result may be from that of float64, by precision: an op's of its largest value, the largest score, and
#: all gradients of a network together, of their norm.
OP_ERRORS = {"float32": OP, "tf32": 5e-3, "float16": 1e-2, "bfloat16": 8e-2}
SCORE_ERRORS = {"float32": SCORES, "tf32": 1e-2, "float16": 3e-2, "bfloat16": 0.2}
GRADIENT_ERRORS = {"float32": GRADIENT, "tf32": 0.3, "float16": 0.3, "bfloat16": 0.8}
#: An error of up to so many times the other implementation's is accepted, too.
ALLOWANCE = 2.0
#: About so many values of a large result are compared with float64.
SAMPLE = 2**20


def ops_difference(names: Sequence[str], ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> str:
    """What is wrong with our output and gradients, called ``names``; nothing is "".

    >>> ops_difference(["y"], [np.array([1.0, 2.0])], [np.array([1.0, 2.1])])
    'y is off by 4.8e-02 of its largest value'
    """
    for name, got, wanted in zip(names, ours, theirs, strict=True):
        if problem := _difference(got, wanted, OP):
            return f"{name} {problem}"
    return ""


def networks_difference(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> str:
    """What is wrong with our loss, scores or gradients (``d name``); nothing is "".

    A variant of the baseline may have fewer passes than ours: only these are compared.
    """
    done = {name == "scores" for name in theirs}  # inference, or training
    ours = {name: value for name, value in ours.items() if (name == "scores") in done}
    if set(ours) != set(theirs):
        return f"{', '.join(sorted(set(ours) ^ set(theirs)))} is missing on one side"
    for name, tolerance in (("loss", LOSS), ("scores", SCORES)):
        if name in ours and (problem := _difference(ours[name], theirs[name], tolerance)):
            return f"{name} {problem}"
    if "scores" in ours and ours["scores"].ndim == 4:  # all of them, not a sample
        others = float((ours["scores"].argmax(-1) != theirs["scores"].argmax(-1)).mean())
        if others > LABELS:
            return f"the labels of {100 * others:.1f} % of the pixels differ"
    gradients = [name for name in ours if name.startswith("d ")]
    floor = FLOOR * max((float(np.linalg.norm(theirs[name])) for name in gradients), default=0.0)
    for name in gradients:
        apart = np.linalg.norm(ours[name] - theirs[name]) / (np.linalg.norm(theirs[name]) + floor)
        if not apart <= GRADIENT:
            return f"{name} is off by {apart:.1e} of its norm"
    return ""


def ops_errors(
    passes: Sequence[str], results: Sequence[np.ndarray], exact: Sequence[np.ndarray]
) -> dict[str, float]:
    """The error of the output, which the first of ``passes`` computes, and of the gradients, which the last does.

    >>> exact = [np.array([4.0]), np.array([1.0]), np.array([2.0])]
    >>> ops_errors(["forward", "backward"], [np.array([4.0]), np.array([1.0]), np.array([2.5])], exact)
    {'forward': 0.0, 'backward': 0.25}
    """
    output, *gradients = (_error(got, wanted) for got, wanted in zip(results, exact, strict=True))
    return {passes[0]: output, passes[-1]: max(gradients)}


def networks_errors(results: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The error of all gradients together, relative to their norm, and of the scores, relative to the largest."""
    errors: dict[str, float] = {}
    if "loss" in results:
        wrong = whole = 0.0
        for name in (each for each in exact if each.startswith("d ")):
            wanted = exact[name].astype(np.float32)
            got = results.get(name, np.float32(np.inf)).astype(np.float32)  # missing: infinitely far off
            wrong += float(np.linalg.norm(got - wanted)) ** 2
            whole += float(np.linalg.norm(wanted)) ** 2
        errors["train"] = float(np.sqrt(wrong / whole))
    if "scores" in results:
        errors["infer"] = _error(results["scores"], exact["scores"])
    return errors


def too_far(
    errors: Mapping[str, float], others: Mapping[str, float], tolerances: Mapping[str, Mapping[str, float]],
    precision: str,
) -> str:
    """The first pass whose error exceeds both its tolerance and :data:`ALLOWANCE` times the other's; or "".

    >>> tolerances = {"forward": {"float16": 0.01}}
    >>> too_far({"forward": 0.03}, {"forward": 0.02}, tolerances, "float16")
    ''
    >>> too_far({"forward": 0.03}, {"forward": 0.01}, tolerances, "float16")
    'forward is off by 3.0e-02 from float64'
    """
    for name, error in errors.items():
        if not error <= max(tolerances[name][precision], ALLOWANCE * others.get(name, 0.0)):
            return f"{name} is off by {error:.1e} from float64"
    return ""


def _difference(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> str:
    if got.shape != wanted.shape:
        return f"has the shape {got.shape}, not {wanted.shape}"
    apart = np.abs(got - wanted).max() / (np.abs(wanted).max() or 1.0)
    return "" if apart <= tolerance else f"is off by {apart:.1e} of its largest value"


def _error(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference of (a sample of) the values, of the largest; infinite where shapes differ."""
    if got.shape != wanted.shape:
        return float("inf")
    step = wanted.size // SAMPLE | 1  # odd, so that it meets every channel
    got, wanted = (x.reshape(-1)[::step].astype(np.float64) for x in (got, wanted))
    return float(np.abs(got - wanted).max() / (np.abs(wanted).max() or 1.0))
