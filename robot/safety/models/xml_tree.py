"""Reading an XML file from somebody else: elements only, no DTD, no entities, bounded.

Knows XML. It must not know robots.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from fieldtune.regular_file import open_regular

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 256


class ModelError(Exception):
    """A robot's model that cannot be used. Names the file, the place, the value and the cure."""


def read_tree(path: Path) -> Element:
    """The file's root element.

    Raises `ModelError` for a file that cannot be read, is larger than 16 MiB, nests deeper than
    256 elements, is not well-formed, or declares a document type (entities can expand for ever,
    or read other files).
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    if len(data) > MAX_BYTES:
        raise ModelError(f"{path}: larger than {MAX_BYTES} bytes: expected a robot's MJCF or URDF")
    return _parse(data, str(path))


def _parse(data: bytes, source: str) -> Element:
    parser, builder, depth = expat.ParserCreate(), TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ModelError(f"{source}: elements nest deeper than {MAX_DEPTH}")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise ModelError(f"{source}: declares a document type (<!DOCTYPE ...>): remove it")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # LookupError: unknown encoding
        raise ModelError(f"{source}: is not well-formed XML: {error}") from None
    return builder.close()
