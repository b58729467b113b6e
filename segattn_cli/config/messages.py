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
#: Pydantic's error types for a key that does not exist, at the top and in a table.
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
    return f"{path} must {' or '.join(dict.fromkeys(wanted))}, got {got}"


def unknown_key(path: str) -> str:
    """That there is no key ``path``, and which key may have been meant."""
    known = [key.path for key in keys()]
    tables = list(dict.fromkeys(key.table for key in keys()))
    namesakes = [key.path for key in keys() if key.name == path.rpartition(".")[2]]
    hint = f" (did you mean {namesakes[0]}?)" if namesakes else did_you_mean(path, known + tables)
    return f"{path} is no key{hint}: `segattn config` lists all keys."
