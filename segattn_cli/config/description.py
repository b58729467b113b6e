"""Keys of the configuration in words: their types and limits, and their values in the presets."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from segattn_cli.config.loading import PRESETS, preset_tree
from segattn_cli.config.messages import unknown_key
from segattn_cli.config.schema import Key, keys
from segattn_cli.errors import ConfigError

#: Limits of numbers in JSON Schema, in words.
LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "greater than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


def find_keys(path: str = "") -> list[Key]:
    """The key ``path``, all keys of the table ``path``, or all keys. Raises :class:`ConfigError` for no key.

    >>> [key.name for key in find_keys("data.scenes")]
    ['size', 'train', 'val']
    """
    found = [key for key in keys() if not path or key.path == path or key.path.startswith(f"{path}.")]
    if not found:
        raise ConfigError(unknown_key(path))
    return found


def type_in_words(key: Key) -> str:
    """The type and the limits of the values of ``key``.

    >>> [type_in_words(find_keys(path)[0]) for path in ("augmentation.crop", "training.ema")]
    ['array of 2 integers, each at least 1 and at most 65536', 'number, greater than 0 and less than 1, or "none"']
    """
    return _in_words(TypeAdapter(key.type).json_schema())


def toml_value(value: Any) -> str:
    """``value`` as it is written in a configuration file.

    >>> toml_value((1.0, 0.5)), toml_value(True), toml_value("tiny"), toml_value(None)
    ('[1.0, 0.5]', 'true', '"tiny"', 'not set')
    """
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


def values_in_presets(key: Key) -> dict[str, Any]:
    """The values of ``key`` by preset, for the presets that set it.

    >>> values_in_presets(find_keys("training.epochs")[0])["tiny-scenes"]
    10
    """
    values = {}
    for preset in PRESETS:
        value: Any = preset_tree(preset)
        for part in key.path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            values[preset] = value
    return values


def _in_words(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return ", or ".join(map(_in_words, schema["anyOf"]))
    if "const" in schema:
        return toml_value(schema["const"])
    if "enum" in schema:
        *others, last = map(toml_value, schema["enum"])
        return f"{', '.join(others)} or {last}"
    if schema["type"] == "array":
        items = schema.get("prefixItems") or [schema["items"]]
        count = f"{len(items)} " if "prefixItems" in schema else ""
        limits = _limits(items[0])
        return f"array of {count}{items[0]['type']}s" + (f", each {limits}" if limits else "")
    name = {"boolean": "true or false", "null": '"none"'}.get(schema["type"], schema["type"])
    limits = _limits(schema)
    return f"{name}, {limits}" if limits else name


def _limits(schema: dict[str, Any]) -> str:
    limits = {words: schema[limit] for limit, words in LIMITS.items() if limit in schema}
    # some versions of Pydantic write the limit 0 of a float as 0.0
    return " and ".join(f"{words} {int(n) if n == int(n) else n}" for words, n in limits.items())
