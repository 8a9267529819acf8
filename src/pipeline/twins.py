"""Code that has a second form, compiled or in JavaScript, and a way to notice that it was changed.

A second form is believed to give the same numbers as the first, so it must not be used when the
first has become another. The digest of the first is recorded beside the second; whoever changes the
first looks at the second, runs the tests that compare them, and records the new digest.
"""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any


def source_digest(functions: Iterable[Callable[..., Any]]) -> str:
    """Return a digest of the source of functions or classes, without its words and layout."""
    digest = hashlib.sha256()
    for function in functions:
        source = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(source)
        for node in ast.walk(tree):
            _remove_docstring(node)
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def _remove_docstring(node: ast.AST) -> None:
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:]
