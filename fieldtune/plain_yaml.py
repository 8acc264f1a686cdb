"""YAML as a person means it: plain data only, and nothing read as what was not written.

PyYAML reads YAML 1.1, where `010` is 8, `1:30` is 90, `no` is false and `1.5e3` is text. Here a
plain scalar is what YAML 1.2 says, and what the two understand differently is refused. Holds the
reader and the writer. It must not know what is written, nor where.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

DEEPEST = 64  # levels of lists and mappings
MOST_REPEATED = 100_000  # values that aliases may add: ten lines of them can stand for billions

_TAG = "tag:yaml.org,2002:"
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?(?:[0-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$")
_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
_OCTAL = re.compile(r"[-+]?0[0-9_]+")


def parse(text: str) -> Any:
    """Plain data from one YAML document.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: it is none, a key is given twice or is no text,
            a number has another meaning elsewhere or cannot be held, or aliases and nesting would
            make it grow without bounds.
    """
    # The loader descends from SafeLoader: it builds plain data only.
    return yaml.load(text, Loader=_Loader)


def write(values: Any) -> str:
    """YAML text that `parse` and readers of YAML 1.1 understand alike."""
    # ASCII with escapes: as it stands, U+0085 would be read back as a line break.
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False))


class _Loader(yaml.SafeLoader):
    """SafeLoader with scalars of YAML 1.2, keys that are text and given once, and bounds."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._extent: dict[int, tuple[int, int]] = {}  # of a node: values in all, and levels

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark, alias = self.peek_event().start_mark, self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > DEEPEST:
            raise ComposerError(None, None, _too_deep(), mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not alias and node is not None:
            self._measure(node, mark)
        elif id(node) not in self._extent:
            raise ComposerError(None, None, "an alias stands inside of what it repeats", mark)
        return node

    def _measure(self, node: yaml.Node, mark: yaml.Mark) -> None:
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inside = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inside = node.value
        found = [self._extent[id(part)] for part in inside]
        size = 1 + sum(size for size, _ in found)
        levels = 1 + max((levels for _, levels in found), default=0)
        self._extent[id(node)] = size, levels
        if levels > DEEPEST:
            raise ComposerError(None, None, _too_deep(), mark)
        if size - len(self._extent) > MOST_REPEATED:
            problem = f"aliases repeat more than {MOST_REPEATED:,} values: write them out"
            raise ComposerError(None, None, problem, mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_TAG}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"key {key!r} is not text: quote it"
                raise ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                problem = f"key {key!r} is given twice"
                raise ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = str(node.value)
        if _OCTAL.fullmatch(text):
            problem = (
                f"{text} begins with 0, which some read as octal: write "
                f"{int(text.replace('_', ''))}, or quote it where it is text"
            )
            raise ConstructorError(None, None, problem, node.start_mark)
        return int(super().construct_yaml_int(node))

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value, text = float(super().construct_yaml_float(node)), str(node.value).lower()
        vanished = value == 0 and re.search(r"[1-9]", text.partition("e")[0])
        if vanished or (math.isinf(value) and "inf" not in text):
            problem = f"{text} is not a number that can be held: it would be read as {value:g}"
            raise ConstructorError(None, None, problem, node.start_mark)
        return value


class _Dumper(yaml.SafeDumper):
    """SafeDumper that also quotes text which `_Loader` would take for a number."""


def _too_deep() -> str:
    return f"is nested more than {DEEPEST} deep"


_OLD = {f"{_TAG}{kind}" for kind in ("bool", "int", "float", "value")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in _OLD]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(f"{_TAG}bool", _BOOL, list("tTfF"))
    _kind.add_implicit_resolver(f"{_TAG}int", _INT, list("-+0123456789"))
    _kind.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+0123456789."))
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_yaml_int)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_yaml_float)
