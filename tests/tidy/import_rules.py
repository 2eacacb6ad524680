"""Tidy rule for the package as a whole: no module that nothing uses."""

import ast
import re
from collections.abc import Iterable, Mapping

from tests.tidy.findings import Finding

_MODULE_IN_STRING = re.compile(r"[a-z_][\w.]*(?=:|$)")


def module_name(path: str) -> str:
    """gateway/core/clock.py -> gateway.core.clock; a package is its __init__."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def unreachable_modules(files: Mapping[str, str], roots: Iterable[str]) -> list[Finding]:
    """Modules that no import leads to from the `roots`.

    files: path -> text of every module. A module also counts as used when its name stands in a
    string ("gateway.api.app:create"), which is how servers and plug-ins are named.
    """
    modules = {module_name(path): path for path in files}
    reached: set[str] = set()
    waiting = [root for root in roots if root in modules]
    while waiting:
        module = waiting.pop()
        if module in reached:
            continue
        reached.add(module)
        parent = module.rpartition(".")[0]
        named = _named_modules(files[modules[module]], module, modules)
        waiting += [name for name in {parent, *named} if name in modules]
    return [
        Finding(path, 0, "nothing imports this module")
        for module, path in sorted(modules.items())
        if module not in reached
    ]


def _named_modules(text: str, module: str, modules: Mapping[str, str]) -> set[str]:
    package = module if modules[module].endswith("__init__.py") else module.rpartition(".")[0]
    named: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            named.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            named |= _from_names(node, package)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named.update(_MODULE_IN_STRING.findall(node.value) if "." in node.value else ())
    return named


def _from_names(node: ast.ImportFrom, package: str) -> set[str]:
    """`from a.b import c` may name the module a.b.c or something inside a.b."""
    source = node.module or ""
    if node.level:
        parts = package.split(".")
        above = parts[: len(parts) - node.level + 1]
        source = ".".join([*above, source] if source else above)
    return {source, *(f"{source}.{alias.name}" for alias in node.names)}
