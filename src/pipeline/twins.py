"""Notice a change of code that has a second form, compiled or in JavaScript.

A second form was tested to give the same numbers as the source that it copies, so it must not be
used after that source has changed. The digest of the source is recorded beside the second form.
Whoever changes the source changes the second form, runs the tests that compare the two, and records
the new digest.
"""

import ast
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import cache
from types import ModuleType
from typing import Any

Code = Callable[..., Any]  # a function or a class


def source_digest(functions: Iterable[Code | ModuleType]) -> str:
    """Return a digest of functions, classes or modules, ignoring docstrings, comments and layout.

    It is the same in every version of Python.
    """
    digest = hashlib.sha256()
    for function in functions:
        digest.update(_described(_syntax_tree(function)).encode())
    return digest.hexdigest()[:16]


def with_callees(functions: Iterable[Code], packages: Iterable[str]) -> list[Code]:
    """Return functions and classes, and all that they use, directly or not, in some packages.

    Args:
        functions: where to begin.
        packages: names of top-level packages; what lies elsewhere is left out.

    Returns:
        Each once, in an order that does not depend on how they were found.
    """
    found: dict[str, Code] = {}
    waiting = [*functions]
    while waiting:
        function = waiting.pop()
        name = f"{function.__module__}.{function.__qualname__}"
        if name in found or function.__module__.partition(".")[0] not in packages:
            continue
        found[name] = function
        waiting.extend(_named_in(function))
    return [found[name] for name in sorted(found)]


def _named_in(function: Code) -> list[Code]:
    """Return the functions and classes that the source of one names."""
    module = sys.modules[function.__module__]
    named = []
    for node in ast.walk(_syntax_tree(function)):
        value: Any = getattr(module, node.id, None) if isinstance(node, ast.Name) else None
        if inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value)):
            named.append(value)
    return named


def _syntax_tree(function: Code | ModuleType) -> ast.AST:
    """Return the definition of a function, a class or a method, or a whole module."""
    if isinstance(function, ModuleType):
        return _module_tree(function.__name__)
    node: Any = _module_tree(function.__module__)
    for name in function.__qualname__.split("."):
        (node,) = [inner for inner in node.body if getattr(inner, "name", None) == name]
    return node


@cache
def _module_tree(module: str) -> ast.Module:
    """Return the syntax tree of a module that is imported, without docstrings."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    for node in ast.walk(tree):
        _remove_docstring(node)
    return tree


def _remove_docstring(node: ast.AST) -> None:
    if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
        return
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:]


def _described(value: Any) -> str:
    """Return a syntax tree as text.

    Fields that are empty are left out: each version of Python adds some. `ast.dump` writes them.
    """
    if isinstance(value, list):
        return f"[{' '.join(map(_described, value))}]"
    if not isinstance(value, ast.AST):
        return repr(value)
    parts = [type(value).__name__]
    for name, field in ast.iter_fields(value):
        if field is not None and field != []:
            parts.append(f"{name}={_described(field)}")
    return f"({' '.join(parts)})"
