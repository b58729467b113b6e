"""Configurations and studies as TOML, and the values of ``--set``, up to what ``train --dry-run`` counts."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from importlib.resources import files

from fuzz.judge import FOLDER, attempt
from fuzz.mutations import ODD, Mutate
from fuzz.parts import divided, joined, mutated_parts
from reference.networks import build_network
from segattn_cli.config import PRESETS, Config, config_from, keys, load_config
from segattn_cli.config.loading import preset_text
from segattn_cli.config.study import STUDIES, load_study
from segattn_cli.costs.cost import configured_step

FILE, STUDY, SET = "file.toml", "study.toml", "set"
NAMES = (FILE, STUDY, SET)
#: Parameters of the largest network whose step is counted: counting takes as long as the network is deep.
DEEPEST = 10**6
#: Values of ``--set`` in one input.
SETS = 8


def seeds() -> Iterator[bytes]:
    """The presets, two studies, and all keys in a file and as ``--set``."""
    for name in PRESETS:
        yield joined({FILE: preset_text(name)})
    for name in STUDIES[:2]:
        yield joined({STUDY: files("segattn_cli.config").joinpath("studies", f"{name}.toml").read_text()})
    yield joined({FILE: load_config().as_toml()})
    paths = [key.path for key in keys()]
    for start in range(0, len(paths), SETS):
        yield joined({SET: "\n".join(f"{path}=1" for path in paths[start : start + SETS])})
    yield joined({SET: "x=" + "[" * 2000})
    yield joined({SET: "network.scales=[1, 9223372036854775807]"})
    yield joined({STUDY: "[rows]\na = " + "[" * 2000})


def one_input(data: bytes) -> None:
    parts = divided(data, NAMES)
    overrides = parts.get(SET, b"").decode(errors="surrogateescape").replace("\0", "").splitlines()[:SETS]
    configs = []
    if FILE in parts:
        path = FOLDER / FILE
        path.write_bytes(parts[FILE])
        configs.append(attempt(load_config, path, overrides))
    elif overrides:
        configs.append(attempt(load_config, None, overrides))
    if STUDY in parts:
        path = FOLDER / STUDY
        path.write_bytes(parts[STUDY])
        study = attempt(load_study, path, overrides)
        if study is not None:
            configs.append(attempt(study.config, next(iter(study.rows)), 1, study.folds and 1))
    for config in filter(None, configs):
        attempt(used, config)


def used(config: Config) -> None:
    """What is done with a configuration before a training begins."""
    text = config.as_toml()
    again = config_from(config.model_dump(mode="json", exclude_none=True))
    assert again.as_toml() == text
    network = build_network(config.network_config(11))
    if sum(map(math.prod, network.shapes().values())) < DEEPEST:
        configured_step(config, 11, config.training.batch_size, config.augmentation.crop)


def mutated(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    """Another value for a key, in TOML's words; or other bytes."""
    if rng.random() < 0.7:
        lines = data.split(b"\n")
        chosen = [number for number, line in enumerate(lines) if re.match(rb"[\w.-]+ *=", line)]
        if chosen:
            number = rng.choice(chosen)
            lines[number] = lines[number].partition(b"=")[0] + b"= " + _toml(rng).encode(errors="replace")
            return b"\n".join(lines)
    return mutated_parts(data, mutate, size, rng)


def _toml(rng: random.Random) -> str:
    known = rng.random()
    if known < 0.2:
        key = rng.choice(list(keys()))
        values = re.findall(r"'([\w-]+)'", str(key.type))
        return f'"{rng.choice(values)}"' if values else "1"
    if known < 0.3:
        return rng.choice(
            ("[" * 300 + "]" * 300, "{a = " * 20 + "1" + "}" * 20, "1979-05-27", "07:32:00", "0x7f", "1_0", "1e309")
        )
    return _written(rng.choice(ODD))


def _written(value: object) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_written(each)}' for key, each in value.items()) + "}"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)
