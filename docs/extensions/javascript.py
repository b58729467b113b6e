"""The code of an op as JavaScript, translated from its file, so that a page computes with the reference's lines.

Statements become statements and names stay, so the result can be compared with the file line by line. Operators
become functions of ``static/live/numpy.js``, which has the part of NumPy that ops need, since JavaScript has no
operators for arrays. What the translator does not know is an error while the site is built.
"""

from __future__ import annotations

import ast
import builtins
import json
from dataclasses import dataclass, field
from pathlib import Path

#: Checks of types and shapes: on a page, these cannot be wrong. Checks of values are translated.
OF_SHAPES = {
    "check_arrays", "check_gradient", "check_integers", "check_label_shape", "check_mask", "check_max_pool2d",
    "check_resize_bilinear", "check_classes",
}  # fmt: skip
OPERATORS = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.FloorDiv: "floor_divide",
    ast.Pow: "power", ast.MatMult: "matmul", ast.BitAnd: "logical_and", ast.BitOr: "logical_or",
    ast.Eq: "equal", ast.NotEq: "not_equal", ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater",
    ast.GtE: "greater_equal",
}  # fmt: skip
UNARY = {ast.USub: "np.negative({})", ast.Not: "!{}"}
BUILTINS = {
    "abs": "Math.abs", "max": "Math.max", "min": "Math.min", "int": "Math.trunc", "float": "Number",
    "tuple": "Array.from", "len": "np.len", "range": "np.range", "enumerate": "np.enumerate", "zip": "np.zip",
    "slice": "np.slice", "OpError": "new Error",
}  # fmt: skip
MATH = {"inf": "Infinity", "log": "Math.log", "ceil": "Math.ceil"}


class NotTranslated(Exception):
    """Python for which there is no translation."""


def translate(op: str, folder: Path) -> str:
    """The functions ``op`` and ``op_backward`` of ``folder/op.py`` in JavaScript, with all that they use.

    >>> import reference.ops
    >>> print(translate("relu", Path(reference.ops.__file__).parent))
    function ReluCache(...values) {
      return np.named(["y"], values);
    }
    <BLANKLINE>
    function relu(x) {
      let y;
      y = np.maximum(x, 0);
      $seen("y", y);
      return [y, ReluCache(y)];
    }
    <BLANKLINE>
    function relu_backward(dy, cache) {
      return np.where(np.greater(cache.y, 0), dy, 0);
    }
    """
    translation = Translation(folder, shown=(op, f"{op}_backward"))
    for name in translation.shown:
        if name in translation.module(op).defined:
            translation.need(name, op)
    return "\n\n".join(translation.done.values())


@dataclass
class Module:
    #: What the file defines, by name, and from which file of the folder the other names are.
    defined: dict[str, ast.stmt]
    imported: dict[str, str]


@dataclass
class Translation:
    folder: Path
    #: The functions of which each value is shown.
    shown: tuple[str, ...]
    done: dict[str, str] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)

    def module(self, name: str) -> Module:
        if name not in self.modules:
            tree = ast.parse((self.folder / f"{name}.py").read_text(encoding="utf-8"))
            defined: dict[str, ast.stmt] = {}
            imported: dict[str, str] = {}
            for node in tree.body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    defined[node.name] = node
                elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    defined[node.targets[0].id] = node
                elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reference.ops."):
                    imported |= {each.name: node.module.rpartition(".")[2] for each in node.names}
            self.modules[name] = Module(defined, imported)
        return self.modules[name]

    def need(self, name: str, module: str) -> None:
        """Translate ``name``, as code in ``module`` knows it, unless this was done."""
        module = self.module(module).imported.get(name, module)
        if name not in self.done:
            node = self.module(module).defined[name]
            text = Code(self, module).definition(node)  # first what it uses
            self.done[name] = text

    def knows(self, name: str, module: str) -> bool:
        known = self.module(module)
        return name in known.defined or name in known.imported

    def signature(self, name: str, module: str) -> ast.arguments | None:
        module = self.module(module).imported.get(name, module)
        node = self.module(module).defined.get(name)
        return node.args if isinstance(node, ast.FunctionDef) else None


class Code:
    """The translation of the nodes of one file."""

    def __init__(self, translation: Translation, module: str) -> None:
        self.translation = translation
        self.module = module
        self.is_shown = False

    def definition(self, node: ast.stmt) -> str:
        if isinstance(node, ast.ClassDef):  # a NamedTuple
            fields = [each.target.id for each in node.body
                      if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)]  # fmt: skip
            return f"function {node.name}(...values) {{\n  return np.named({json.dumps(fields)}, values);\n}}"
        if isinstance(node, ast.Assign):
            return f"const {self.pattern(node.targets[0])} = {self.expression(node.value)};"
        assert isinstance(node, ast.FunctionDef)
        self.is_shown = node.name in self.translation.shown
        body = "".join(self.statement(each, "  ") for each in node.body)
        names = ", ".join(_assigned(node))
        declared = f"  let {names};\n" if names else ""
        return f"function {node.name}({self.parameters(node.args)}) {{\n{declared}{body}}}"

    def parameters(self, args: ast.arguments) -> str:
        first_default = len(args.args) - len(args.defaults)
        defaults = [None] * first_default + list(args.defaults)
        parts = [self.parameter(arg, value) for arg, value in zip(args.args, defaults, strict=True)]
        options = [self.parameter(arg, value) for arg, value in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
        return ", ".join(parts + ([f"{{{', '.join(options)}}} = {{}}"] if options else []))

    def parameter(self, arg: ast.arg, default: ast.expr | None) -> str:
        return arg.arg if default is None else f"{arg.arg} = {self.expression(default)}"

    def unknown(self, node: ast.stmt | ast.expr) -> NotTranslated:
        return NotTranslated(f"{self.module}, line {node.lineno}: {ast.unparse(node)}")

    # Statements

    def statement(self, node: ast.stmt, indent: str) -> str:
        method = getattr(self, f"_{type(node).__name__}", None)
        if method is None:
            raise self.unknown(node)
        return "".join(f"{indent}{line}\n" for line in method(node))

    def block(self, head: str, body: list[ast.stmt]) -> list[str]:
        return [f"{head} {{", *(line for each in body for line in self.statement(each, "  ").splitlines()), "}"]

    def _Expr(self, node: ast.Expr) -> list[str]:
        if isinstance(node.value, ast.Constant) or _is_check_of_shapes(node.value):
            return []
        return [f"{self.expression(node.value)};"]

    def _Assign(self, node: ast.Assign) -> list[str]:
        (target,) = node.targets
        value = self.expression(node.value)
        return [self.assignment(target, value), *([] if _is_stored(node.value) else self.shown(target))]

    def _AugAssign(self, node: ast.AugAssign) -> list[str]:
        value = ast.BinOp(node.target, node.op, node.value)
        return [self.assignment(node.target, self.expression(ast.copy_location(value, node))),
                *self.shown(node.target)]  # fmt: skip

    def shown(self, target: ast.expr) -> list[str]:
        """Calls that tell the page the new values of the names in ``target``; no name of Python has a dollar."""
        target = target.value if isinstance(target, ast.Subscript) else target
        names = [each.id for each in ast.walk(target) if isinstance(each, ast.Name) and each.id != "_"]
        return [f'$seen("{name}", {name});' for name in names] if self.is_shown else []

    def assignment(self, target: ast.expr, value: str) -> str:
        if isinstance(target, ast.Subscript):
            return f"np.set({self.expression(target.value)}, {self.expression(target.slice)}, {value});"
        if isinstance(target, ast.Tuple):
            stars = [n for n, each in enumerate(target.elts) if isinstance(each, ast.Starred)]
            if stars:
                value = f"np.unpack({value}, {stars[0]}, {len(target.elts)})"
        return f"{self.pattern(target)} = {value};"

    def pattern(self, target: ast.expr) -> str:
        """What is assigned to; ``_`` stands for a value that is not used."""
        if isinstance(target, ast.Starred):
            return self.pattern(target.value)
        if isinstance(target, ast.Tuple):
            return f"[{', '.join(map(self.pattern, target.elts))}]"
        assert isinstance(target, ast.Name)
        return "" if target.id == "_" else target.id

    def _Return(self, node: ast.Return) -> list[str]:
        return [f"return {self.expression(node.value)};" if node.value else "return;"]

    def _Raise(self, node: ast.Raise) -> list[str]:
        assert node.exc
        return [f"throw {self.expression(node.exc)};"]

    def _If(self, node: ast.If) -> list[str]:
        lines = self.block(f"if ({self.expression(node.test)})", node.body)
        return lines + (self.block("else", node.orelse) if node.orelse else [])

    def _For(self, node: ast.For) -> list[str]:
        if node.orelse:
            raise self.unknown(node)
        return self.block(f"for (const {self.pattern(node.target)} of {self.expression(node.iter)})", node.body)

    # Expressions

    def expression(self, node: ast.expr) -> str:
        method = getattr(self, f"_{type(node).__name__}", None)
        if method is None:
            raise self.unknown(node)
        text: str = method(node)
        return text

    def _Constant(self, node: ast.Constant) -> str:
        return '"..."' if node.value is ... else json.dumps(node.value, ensure_ascii=False)

    def _Name(self, node: ast.Name) -> str:
        if node.id in BUILTINS:
            return BUILTINS[node.id]
        if self.translation.knows(node.id, self.module):
            self.translation.need(node.id, self.module)
        elif hasattr(builtins, node.id):
            raise self.unknown(node)
        return node.id

    def _Attribute(self, node: ast.Attribute) -> str:
        if isinstance(node.value, ast.Name) and node.value.id == "math":
            return MATH[node.attr]
        if ast.unparse(node) == "np.inf":
            return "Infinity"
        return f"{self.expression(node.value)}.{node.attr}"

    def _Tuple(self, node: ast.Tuple | ast.List) -> str:
        return f"[{', '.join(map(self.expression, node.elts))}]"

    _List = _Tuple

    def _Starred(self, node: ast.Starred) -> str:
        return f"...{self.expression(node.value)}"

    def _Dict(self, node: ast.Dict) -> str:
        pairs = (f"{self.expression(key)}: {self.expression(value)}"
                 for key, value in zip(node.keys, node.values, strict=True) if key)  # fmt: skip
        return f"{{{', '.join(pairs)}}}"

    def _BinOp(self, node: ast.BinOp) -> str:
        return self.operation(node.op, node.left, node.right)

    def operation(self, operator: ast.operator | ast.cmpop, left: ast.expr, right: ast.expr) -> str:
        if isinstance(operator, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self.unknown(right)
            return f"{self.expression(left)} {'===' if isinstance(operator, ast.Is) else '!=='} null"
        if isinstance(operator, ast.In | ast.NotIn):
            text = f"{self.expression(left)} in {self.expression(right)}"
            return text if isinstance(operator, ast.In) else f"!({text})"
        if type(operator) not in OPERATORS:
            raise NotTranslated(f"{self.module}, line {left.lineno}: {type(operator).__name__}")
        return f"np.{OPERATORS[type(operator)]}({self.expression(left)}, {self.expression(right)})"

    def _Compare(self, node: ast.Compare) -> str:
        terms = [node.left, *node.comparators]
        parts = [self.operation(*each) for each in zip(node.ops, terms, terms[1:], strict=False)]
        return parts[0] if len(parts) == 1 else f"({' && '.join(parts)})"

    def _BoolOp(self, node: ast.BoolOp) -> str:
        return f"({(' && ' if isinstance(node.op, ast.And) else ' || ').join(map(self.expression, node.values))})"

    def _UnaryOp(self, node: ast.UnaryOp) -> str:
        if isinstance(node.operand, ast.Constant):
            return f"-{self.expression(node.operand)}"
        return UNARY[type(node.op)].format(self.expression(node.operand))

    def _IfExp(self, node: ast.IfExp) -> str:
        test, body, otherwise = map(self.expression, (node.test, node.body, node.orelse))
        return f"({test} ? {body} : {otherwise})"

    def _ListComp(self, node: ast.ListComp | ast.GeneratorExp) -> str:
        (generator,) = node.generators
        if generator.ifs:
            raise self.unknown(node)
        pattern, values = self.pattern(generator.target), self.expression(generator.iter)
        return f"Array.from({values}, ({pattern}) => {self.expression(node.elt)})"

    _GeneratorExp = _ListComp

    def _JoinedStr(self, node: ast.JoinedStr) -> str:
        parts = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                parts.append(f"${{{self.expression(part.value)}}}")
            elif isinstance(part, ast.Constant):
                parts.append(str(part.value))
        return f"`{''.join(parts)}`"

    def _Subscript(self, node: ast.Subscript) -> str:
        return f"np.get({self.expression(node.value)}, {self.expression(node.slice)})"

    def _Slice(self, node: ast.Slice) -> str:
        parts = [self.expression(part) if part else "null" for part in (node.lower, node.upper, node.step)]
        return f"np.slice({', '.join(parts)})"

    def _Call(self, node: ast.Call) -> str:
        arguments = [self.expression(each) for each in node.args]
        keywords = {each.arg: self.expression(each.value) for each in node.keywords if each.arg}
        if isinstance(node.func, ast.Name):
            signature = self.translation.signature(node.func.id, self.module)
            if node.func.id == "zip":
                keywords.pop("strict", None)
            if signature and keywords:
                for parameter in signature.args[len(arguments) :]:
                    arguments.append(keywords.pop(parameter.arg, "undefined"))
        if keywords:
            arguments.append(f"{{{', '.join(f'{name}: {value}' for name, value in keywords.items())}}}")
        return f"{self.expression(node.func)}({', '.join(arguments)})"


def _is_check_of_shapes(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OF_SHAPES


def _is_stored(node: ast.expr) -> bool:
    """Whether a value is taken from a cache or a shape, and not computed."""
    is_part = isinstance(node, ast.Subscript) and _is_stored(node.value)
    return is_part or isinstance(node, ast.Name | ast.Attribute)


def _assigned(node: ast.FunctionDef) -> list[str]:
    """The names that a function assigns, without its parameters and the variables of its loops."""
    taken = {arg.arg for arg in [*node.args.args, *node.args.kwonlyargs]}
    statements = [each for each in ast.walk(node) if isinstance(each, ast.Assign)]
    statements.sort(key=lambda each: each.lineno)
    names = [
        name.id for each in statements for target in each.targets for name in ast.walk(target)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store) and name.id != "_"
    ]  # fmt: skip
    return [name for name in dict.fromkeys(names) if name not in taken]
