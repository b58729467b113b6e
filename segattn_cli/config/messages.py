"""Sentences about errors in a configuration, made from what Pydantic reports."""

from __future__ import annotations

import json
import re
from itertools import accumulate, groupby

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from backends.errors import did_you_mean
from segattn_cli.config.schema import keys

#: Pydantic's error types whose messages do not use TOML's words, and our words.
WANTED = {"missing": "have more values", "tuple_type": "be an array", "dataclass_type": "be a table"}
#: Letters of a value that a sentence quotes.
LONGEST_VALUE = 200
#: Keys by the names that other tools have for them.
ALIASES = {
    "lr": "optimiser.learning_rate", "learning_rate": "optimiser.learning_rate", "wd": "optimiser.weight_decay",
    "bs": "training.batch_size", "batch": "training.batch_size", "epoch": "training.epochs",
    "iters": "training.max_steps", "max_iters": "training.max_steps", "steps": "training.max_steps",
    "device": "training.backend", "gpu": "training.backend", "amp": "training.precision",
    "fp16": "training.precision", "num_workers": "data.workers", "imgsz": "data.size", "img_size": "data.size",
    "image_size": "data.size", "crop_size": "augmentation.crop", "pretrained": "network.weights",
}  # fmt: skip
#: What Pydantic calls a key that does not exist, in the whole configuration and in a table.
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def sentence(error: ValidationError) -> str:
    """The errors of all keys; of a key that does not exist alone, since it may be why another is missing."""
    problems = error.errors()
    unknown = [problem["loc"] for problem in problems if problem["type"] in UNKNOWN]
    if unknown:
        return unknown_key(".".join(map(str, unknown[0])))
    sentences = [
        _wrong_value(path, list(each)) for path, each in groupby(problems, lambda problem: _path(problem["loc"]))
    ]
    return "; ".join(sentences) + "."


def _path(location: tuple[int | str, ...]) -> str:
    """The key to which Pydantic's location, such as loss.class_weights.tuple.0, belongs."""
    known = {key.path for key in keys()}
    dotted = list(accumulate(map(str, location), "{}.{}".format))
    return next((path for path in dotted if path in known), dotted[-1] if dotted else "")


def _wrong_value(path: str, problems: list[ErrorDetails]) -> str:
    if problems[0]["type"] == "value_error":  # an error of ours, which names the key itself
        return f"{path}.{problems[0]['msg'].removeprefix('Value error, ')}"
    wanted = [WANTED.get(each["type"]) or re.sub(r"^\w+ should ", "", each["msg"]) for each in problems]
    got = json.dumps(problems[0]["input"], default=str)
    if len(got) > LONGEST_VALUE:
        got = f"{got[:LONGEST_VALUE]} …"
    return f"{path} must {' or '.join(dict.fromkeys(wanted))}, got {got}"


def unknown_key(path: str) -> str:
    """That there is no key ``path``, and which key may have been meant."""
    known = [key.path for key in keys()]
    meant = meant_key(path.rpartition(".")[2])
    tables = list(dict.fromkeys(key.table for key in keys()))
    hint = f" (did you mean {meant}?)" if meant else did_you_mean(path, known + tables)
    return f"{path} is no key{hint}: `segattn config` lists all keys."


def meant_key(name: str) -> str | None:
    """The key that is called ``name``, here or in other tools.

    >>> meant_key("lr"), meant_key("batch_size"), meant_key("colour")
    ('optimiser.learning_rate', 'training.batch_size', None)
    """
    return ALIASES.get(name) or next((key.path for key in keys() if key.name == name), None)
