"""What the core must not contain, read from its syntax tree.

Each rule names what to use instead. It sees what is written in one file: a set that comes back from
a call, or through a name that another module made, goes unseen. ``import-linter`` holds the
packages apart; this holds the core's insides to their promise.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeGuard

_NOW = "take now_ns as an argument; the host reads the clock"
_HOST = "the host does that; give it an instruction"

#: Modules that the core does not import, and what stands in for each.
MODULES: Final = {
    "_thread": _HOST,
    "asyncio": _HOST,
    "datetime": _NOW,
    "logging": "record a transition; an observer writes the log",
    "multiprocessing": _HOST,
    "os": "put it into CoreSettings; the host reads the environment",
    "queue": _HOST,
    "random": "draw with runtime.core.keyed.uniform, by seed, task, attempt and purpose",
    "secrets": "draw with runtime.core.keyed.uniform, by seed, task, attempt and purpose",
    "socket": _HOST,
    "subprocess": _HOST,
    "sys": "put it into CoreSettings; the host knows its interpreter",
    "threading": _HOST,
    "time": _NOW,
    "uuid": "use the task's number; the host makes public ids",
}

CALLS: Final = {
    "__import__": "import it at the top, where the linters see it",
    "hash": "use a written key; str hashes change from process to process",
    "id": "use the task's number; an address changes from run to run",
    "input": _HOST,
    "open": "hand records to an observer; the host writes files",
    "print": "record a transition; an observer shows it",
}

_SORT: Final = "iterate over sorted(...) or keep a dict or list; a set has no order to rely on"
_INTEGERS: Final = "count in whole nanoseconds, with // and <<; only keyed and backoff draw"

#: Files that may use floats: a draw is a float in [0, 1), and a backoff is cut out of it.
WITH_FLOATS: Final = frozenset({"keyed.py", "backoff.py"})
#: Files that may make a seeded ``random.Random``.
WITH_RANDOM: Final = frozenset({"keyed.py"})

# These look at every item and give the same for any order of them.
_ORDERLESS: Final = frozenset({"all", "any", "bool", "frozenset", "len", "set"})
# These do so too, unless a key leaves ties.
_ORDERLESS_WITHOUT_KEY: Final = frozenset({"max", "min", "sorted"})
_ITERATING: Final = frozenset(
    {"deque", "dict", "enumerate", "filter", "iter", "list", "map", "next", "reversed", "sum"}
    | {"tuple", "zip"}
    | _ORDERLESS_WITHOUT_KEY
)
_SET_NAMES: Final = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})
_SET_METHODS: Final = frozenset({"difference", "intersection", "symmetric_difference", "union"})
_VIEWS: Final = frozenset({"items", "keys"})
_SET_OPERATORS: Final = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)
_Binding = ast.Assign | ast.AnnAssign | ast.NamedExpr | ast.arg
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Finding(NamedTuple):
    """One thing that is not allowed.

    Args:
        line: where.
        what: what is written there.
        instead: what to use.
    """

    line: int
    what: str
    instead: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}: {self.instead}"


def findings(source: str, name: str) -> list[Finding]:
    """Read one file of the core.

    Args:
        source: its text.
        name: its name without folders, such as ``ready.py``.

    Returns:
        What is not allowed, in the order of lines.
    """
    tree = ast.parse(source)
    found = [*_imports(tree, name), *_calls(tree), *_sets(tree)]
    if name not in WITH_FLOATS:
        found.extend(_floats(tree))
    return sorted(set(found))


def _imports(tree: ast.Module, name: str) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = ["." * node.level + (node.module or "")]
            taken = {alias.name for alias in node.names}
            if name in WITH_RANDOM and modules == ["random"] and taken == {"Random"}:
                continue  # an instance of its own, which _calls wants seeded
            if modules == ["runtime"]:
                modules = [f"runtime.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            top = module.partition(".")[0]
            if top in MODULES:
                yield Finding(node.lineno, f"import of {module}", MODULES[top])
            elif module.startswith("."):
                yield Finding(node.lineno, "relative import", "write the module's whole name")
            elif top == "runtime" and not f"{module}.".startswith("runtime.core."):
                yield Finding(
                    node.lineno, f"import of {module}", "the core knows only runtime.core"
                )


def _calls(tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = node.func.id
            if called in CALLS:
                yield Finding(node.lineno, f"call of {called}()", CALLS[called])
            elif called == "Random" and not node.args:
                yield Finding(
                    node.lineno, "Random() without a seed", "seed it with the key of the draw"
                )


def _floats(tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield Finding(node.lineno, f"float {node.value}", _INTEGERS)
        elif isinstance(node, ast.Name) and node.id == "float":
            yield Finding(node.lineno, "use of float", _INTEGERS)
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield Finding(node.lineno, "true division", _INTEGERS)


# ---------------------------------------------------------------- iteration over sets


def _sets(tree: ast.Module) -> Iterator[Finding]:
    outside = _set_names(tree, frozenset())
    yield from _iterations(tree, outside)
    for node in ast.walk(tree):
        if isinstance(node, _SCOPES):
            yield from _iterations(node, outside | _set_names(node, outside))


def _inside(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope without those of the functions in it."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, _SCOPES):
            yield from _inside(child)


def _set_names(scope: ast.AST, known: frozenset[str]) -> frozenset[str]:
    """Names and attributes that are bound to a set, wherever in the scope.

    At the module's level, attributes of all methods count: ``self.x = set()`` in one method makes
    ``self.x`` a set in the others.
    """
    names = set(known)
    nodes = list(_inside(scope))
    if isinstance(scope, ast.Module):
        nodes.extend(
            node
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign | ast.AnnAssign) and "." in "".join(_targets(node))
        )
    for _ in range(2):  # a second time for what is named after a name further down
        for node in nodes:
            if _binds_set(node, names):
                names.update(_targets(node))
    return frozenset(names)


def _binds_set(node: ast.AST, names: set[str]) -> TypeGuard[_Binding]:
    """Whether a node binds something to what is, or says that it is, a set."""
    if isinstance(node, ast.AnnAssign | ast.arg) and _says_set(node.annotation):
        return True
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) else None
    return value is not None and _is_set(value, names)


def _targets(node: _Binding) -> list[str]:
    if isinstance(node, ast.arg):
        return [node.arg]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [ast.unparse(t) for t in targets if isinstance(t, ast.Name | ast.Attribute)]


def _says_set(annotation: ast.expr | None) -> bool:
    if annotation is None:
        return False
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    said = ast.unparse(outer).rpartition(".")[2]
    if said == "Final" and isinstance(annotation, ast.Subscript):
        return _says_set(annotation.slice)
    return said in _SET_NAMES


def _is_set(value: ast.expr, names: set[str] | frozenset[str]) -> bool:
    match value:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name() | ast.Attribute():
            return ast.unparse(value) in names
        case ast.Call(func=ast.Name(id=called)):
            return called in ("set", "frozenset")
        case ast.Call(func=ast.Attribute(value=owner, attr=method)):
            return (method in _SET_METHODS or method == "copy") and _is_set(owner, names)
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _SET_OPERATORS):
            return any(_is_set(side, names) or _is_view(side) for side in (left, right))
        case ast.IfExp(body=body, orelse=orelse):
            return _is_set(body, names) or _is_set(orelse, names)
        case _:
            return False


def _is_view(value: ast.expr) -> bool:
    """Whether this is a dict's keys or items, of which operators make a set."""
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in _VIEWS
        and not value.args
    )


def _iterations(scope: ast.AST, names: frozenset[str]) -> Iterator[Finding]:
    for node in _inside(scope):
        for iterated in _iterated(node):
            if _is_set(iterated, names):
                what = f"iteration over the set {ast.unparse(iterated)}"
                yield Finding(iterated.lineno, what, _SORT)


def _iterated(node: ast.AST) -> list[ast.expr]:
    """The expressions whose order this node shows."""
    match node:
        case ast.For(iter=iterated) | ast.AsyncFor(iter=iterated):
            return [iterated]
        case ast.SetComp():
            return []  # a set of a set has no order to show
        case ast.ListComp() | ast.DictComp() | ast.GeneratorExp():
            return [generator.iter for generator in node.generators]
        case ast.Starred(value=value) | ast.YieldFrom(value=value):
            return [value]
        case ast.Assign(targets=[ast.Tuple() | ast.List()], value=value):
            return [value]
        case ast.Call(func=ast.Name(id=called), args=args, keywords=keywords):
            keyed = any(keyword.arg == "key" for keyword in keywords)
            if called in _ORDERLESS or (called in _ORDERLESS_WITHOUT_KEY and not keyed):
                return []
            return list(args) if called in _ITERATING else []
        case ast.Call(func=ast.Attribute(value=owner, attr="pop"), args=[]):
            return [owner]
        case ast.Call(func=ast.Attribute(attr="join" | "extend"), args=args):
            return list(args)
        case _:
            return []
