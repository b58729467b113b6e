"""The plan of a check, by names, and the check itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from backends import get_backend
from backends.contract import PRECISIONS, Ops
from backends.errors import did_you_mean
from reference.networks import NetworkConfig
from segattn_cli.checking.cases import CASES
from segattn_cli.checking.network_checks import NETWORKS, check_network
from segattn_cli.checking.op_checks import check_op
from segattn_cli.checking.results import CheckResult
from segattn_cli.config import PRESETS, load_config
from segattn_cli.errors import UsageError

#: What every backend computes in, and what only a GPU does.
DTYPES, GPU_DTYPES = ("float64", "float32"), ("tf32", "float16", "bfloat16")
#: Classes of a preset's network, which does not fix them itself.
CLASSES = 7


class Plan(NamedTuple):
    """What is compared: ops and networks, each in every dtype."""

    ops: Sequence[str]
    networks: Mapping[str, NetworkConfig]
    dtypes: Sequence[str]
    quick: bool = False


def plan(
    ops: Sequence[str] = (), networks: Sequence[str] = (), dtypes: Sequence[str] = (), *, quick: bool = False,
    gpu: bool = False,
) -> Plan:
    """The plan for so many names; without any op or network, all ops and all of :data:`NETWORKS`.

    ``quick`` leaves out float64, the large cases and the ResNet, wherever none of them was asked for by name.
    ``gpu`` adds what only a GPU computes in.
    Raises :class:`UsageError` for a name that does not exist.

    >>> plan(ops=["conv2d"]).networks
    {}
    >>> plan(ops=["conv2"])
    Traceback (most recent call last):
    segattn_cli.errors.UsageError: There is no op 'conv2' (did you mean conv2d?); `segattn check --list` has all.
    """
    for kind, names, known in (
        ("op", ops, CASES),
        ("network", networks, (*NETWORKS, *PRESETS)),
        ("dtype", dtypes, (*DTYPES, *GPU_DTYPES)),
    ):
        for name in names:
            _require_known(kind, name, known)
    if not ops and not networks:
        ops = list(CASES)
        networks = [name for name in NETWORKS if not (quick and name.startswith("resnet"))]
    return Plan(
        ops,
        {name: NETWORKS.get(name) or load_config(name).network_config(CLASSES) for name in networks},
        dtypes or (("float32",) if quick else (*DTYPES, *GPU_DTYPES) if gpu else DTYPES),
        quick,
    )


def run(backend: Ops, plan: Plan) -> Iterator[CheckResult]:
    """Compare ``backend`` with the reference as planned, ops first.

    In 16 bits and TF32 only small cases are checked: NumPy, which computes the errors that they are compared with,
    is slow in float16.
    Raises :class:`BackendError` for a dtype that the backend does not compute in.
    """
    for op in plan.ops:
        for dtype in plan.dtypes:
            prepare(backend, dtype)
            yield from check_op(backend, op, dtype, quick=plan.quick or dtype in GPU_DTYPES)
    for name, config in plan.networks.items():
        for dtype in plan.dtypes:
            if dtype not in GPU_DTYPES or config.backbone == "tiny":
                prepare(backend, dtype)
                yield from check_network(backend, name, config, dtype)


def prepare(backend: Ops, dtype: str) -> None:
    """Have ``backend`` compute in ``dtype``. Raises :class:`BackendError` where it cannot."""
    if backend.name == "cupy" or dtype in GPU_DTYPES:
        get_backend(backend.name, dtype if dtype in PRECISIONS else "float32")


def _require_known(kind: str, name: str, known: Iterable[str]) -> None:
    known = list(known)
    if name not in known:
        hint = did_you_mean(name, known) or f": there are {', '.join(known)}"
        raise UsageError(f"There is no {kind} {name!r}{hint}; `segattn check --list` has all.")
