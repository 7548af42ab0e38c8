"""Imports point down: social -> realtime, workers -> feed -> db. realtime and workers meet in MySQL and Redis only."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BELOW = {
    "db": set(),
    "feed": {"db"},
    "realtime": {"feed", "db"},
    "workers": {"feed", "db"},
    "social": {"realtime", "workers", "feed", "db"},
}


def imported(file: Path) -> set[str]:
    """Top-level names that a file imports, at its top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", sorted(BELOW))
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {
        str(file.relative_to(ROOT)): sorted(bad)
        for file in files
        if (bad := (imported(file) & set(BELOW)) - BELOW[package] - {package})
    }
    assert wrong == {}


def test_only_db_speaks_to_drivers() -> None:
    drivers = {"redis", "sqlalchemy", "aiomysql", "aiosqlite", "alembic", "aioboto3", "botocore"}
    # AsyncConnection is the handle that `db` functions take; naming its type is not speaking SQL.
    wrong = {}
    for package in ("feed", "realtime", "workers"):
        for file in sorted((ROOT / package).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            names = imported(file) & drivers
            if names == {"sqlalchemy"} and text.count("sqlalchemy") == text.count(
                "from sqlalchemy.ext.asyncio import AsyncConnection"
            ):
                continue
            if names:
                wrong[str(file.relative_to(ROOT))] = sorted(names)
    assert wrong == {}


def test_only_the_gateway_touches_a_websocket() -> None:
    wrong = [
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / "realtime").rglob("*.py"))
        if re.search(r"WebSocketResponse|import WebSocket\b", file.read_text(encoding="utf-8"))
        and file.name not in ("gateway.py", "websocket.py")
    ]
    assert wrong == []


def test_no_import_circle_inside_a_package() -> None:
    """Modules import each other at their top in one direction only."""
    graph: dict[str, set[str]] = {}
    for package in BELOW:
        for file in (ROOT / package).rglob("*.py"):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            tree = ast.parse(file.read_text(encoding="utf-8"))
            graph[name] = {
                f"{node.module}.{alias.name}"
                for node in tree.body
                if isinstance(node, ast.ImportFrom) and node.module
                for alias in node.names
            } | {node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module}
    graph = {name: {target for target in targets if target in graph} for name, targets in graph.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name in done:
            return
        for target in graph[name]:
            visit(target, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())
