"""What ``static/live/live.js`` reads in the page of an op: the op's examples, and its code in JavaScript."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from javascript import translate
from op_examples import Example, controls, differentiated, examples, positional

from segattn_cli.reading.op_source import FOLDER, OpSource

KINDS = {"f": "float", "i": "int", "u": "int", "b": "bool"}


def script(op: OpSource) -> str:
    """An object in JavaScript. Its function ``code`` returns forward and, if there is one, backward."""
    functions = [function.name for function in (op.forward, op.backward) if function]
    description = {
        "examples": [_packed(each) for each in examples(op)],
        "controls": controls(op),
        "positional": positional(op),
        "differentiated": differentiated(op),
    }
    fields = "".join(f"  {name}: {_json(value)},\n" for name, value in description.items())
    code = translate(op.name, FOLDER)
    return f"{{\n{fields}  code(np, $seen) {{\n{code}\n\nreturn [{', '.join(functions)}];\n  }},\n}}"


def _packed(example: Example) -> dict[str, Any]:
    arguments = {name: _array(value) for name, value in example.arguments.items()}
    return {"text": example.text, "arguments": arguments, "dy": _array(example.dy)}


def _array(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return {"shape": value.shape, "data": value.ravel().tolist(), "kind": KINDS[value.dtype.kind]}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
