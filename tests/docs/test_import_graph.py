"""No module of ours imports itself through others, even by an import inside a function.

An import that only type checkers see (``if TYPE_CHECKING``) is none.
"""

import ast
from collections.abc import Iterator

from tests.docs.pages import SOURCE, source_trees

Graph = dict[str, set[str]]


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(import_graph()) == []


def test_a_circle_is_found_with_all_that_is_in_it() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert circles(graph) == [["b", "c"]]


def import_graph() -> Graph:
    """For each module of ours the modules of ours that it names in an import."""
    trees = {
        ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): tree
        for path, tree in source_trees()
    }
    modules = set(trees)
    return {name: modules & set(imports_of(tree, modules)) for name, tree in trees.items()}


def imports_of(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """``from package import name`` names the module ``package.name``, if there is such a module."""
    for node in executed(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in modules else str(node.module)


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below ``node`` but those of ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from executed(child)


def circles(graph: Graph) -> list[list[str]]:
    """The strongly connected components that have an edge inside."""
    reached = {name: reachable(graph, name) for name in graph}
    components = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    return sorted(list(component) for component in components)


def reachable(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    left = [start]
    while left:
        new = graph[left.pop()] - reached
        reached |= new
        left.extend(new)
    return reached
