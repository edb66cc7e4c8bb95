"""What comes from outside is data: nothing in the package evaluates any."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "airflow_paginated"
BANNED_NAMES = {"eval", "exec", "compile", "__import__", "input", "breakpoint"}
BANNED_MODULES = {
    *("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "jsonpickle", "marshal", "shelve", "dbm"),
    *("yaml", "ruamel", "code", "codeop", "runpy", "subprocess", "pty", "ctypes", "xml", "xmlrpc", "telnetlib", "lxml"),
}
BANNED_CALLS = {"os.system", "os.popen", "os.execv", "os.spawnv", "builtins.eval", "builtins.exec", "copyreg.pickle"}


@pytest.mark.fault("S10")
def test_nothing_is_evaluated() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    found = [f"{file.name}:{line} {what}" for file in files for line, what in _banned(ast.parse(file.read_text()))]
    assert found == []


@pytest.mark.fault("S10")
@pytest.mark.parametrize(
    "code",
    [
        *("eval(x)", "exec(x)", "compile(x, y, z)", "import pickle", "from pickle import loads", "import a, marshal"),
        *("import yaml", "import yaml as y", "from yaml import load", "from os import system", "os.system(x)"),
        *("f = eval", "import ruamel.yaml", "__import__(x)", "getattr(builtins, 'eval')", "import xml.sax"),
    ],
)
def test_what_evaluates_is_found(code: str) -> None:
    assert [line for line, _ in _banned(ast.parse(code))] == [1]


def _banned(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names if each.name.partition(".")[0] in BANNED_MODULES]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [module] if module.partition(".")[0] in BANNED_MODULES and not node.level else []
            names += [each.name for each in node.names if f"{module}.{each.name}" in BANNED_CALLS]
        elif isinstance(node, ast.Name):
            names = [node.id] if node.id in BANNED_NAMES else []
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)] if ast.unparse(node) in BANNED_CALLS else []
        elif isinstance(node, ast.Constant):
            names = [str(node.value)] if node.value in BANNED_NAMES else []
        yield from ((getattr(node, "lineno", 0), name) for name in names)
