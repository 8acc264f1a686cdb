"""The policy bundle, read and verified: one file with a manifest and its ONNX graphs.

Holds what a robot needs to trust a bundle before it loads anything from it. Must not know torch or
an inference engine. A digest shows that a file is whole, not who made it: the bridge sees to that.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic_core
from pydantic import ValidationError

from fieldtune.errors import UserError
from fieldtune.export import archive
from fieldtune.export.graph import GraphError, check_graph
from fieldtune.export.manifest import (
    GRAPHS,
    LIKELIHOOD,
    SCHEMA_VERSIONS,
    FieldSpec,
    FileEntry,
    Manifest,
)
from fieldtune.regular_file import open_regular

MAX_BUNDLE_BYTES = 256 * 2**20
MAX_MANIFEST_BYTES = 8 * 2**20
MANIFEST_NAME = "manifest.json"
MEMBERS = (MANIFEST_NAME, *GRAPHS)
WITH_LIKELIHOOD = (*MEMBERS, LIKELIHOOD)

_FETCH_AGAIN = "fetch or export the bundle again"
_UPDATE = "update fieldtune here, or export the bundle with this version"


class BundleError(UserError, ValueError):
    """A bundle cannot be trusted or used. The message names the file, the field and the cure."""


class BundleMismatch(BundleError):
    """A sound bundle that was made for another robot than this one."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. `graphs` maps the name of each to its ONNX bytes: `GRAPHS`, and where the
    manifest has the section `likelihood`, `LIKELIHOOD`."""

    id: str
    manifest: Manifest
    graphs: Mapping[str, bytes]


def read_bundle(path: Path | str, expected_id: str | None = None) -> Bundle:
    """Read a bundle and check all of it.

    Args:
        path: the bundle file.
        expected_id: refuse any other bundle than this one.

    Raises:
        BundleError: missing, cut, altered, oversized, of an unknown version, or inconsistent.
    """
    return parse_bundle(read_bytes(path), source=str(path), expected_id=expected_id)


def bundle_id(path: Path | str) -> str:
    """The id of a bundle file, after checking that it matches the file's bytes.

    Raises:
        BundleError: the file is missing, cut, altered or oversized.
    """
    return _digest(read_bytes(path), str(path))


def read_bytes(path: Path | str) -> bytes:
    """A bundle file's bytes, unchecked, at most one more than are accepted. Raises `BundleError`
    where they cannot be read."""
    try:
        with open_regular(Path(path)) as file:
            return file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"bundle {path}: cannot be read ({error.strerror}): check the path"
        ) from error


def parse_bundle(data: bytes, *, source: str, expected_id: str | None = None) -> Bundle:
    """Check a bundle that is already in memory.

    Args:
        data: the bundle file's bytes.
        source: names it in errors.
        expected_id: refuse any other bundle than this one.

    Raises:
        BundleError: as `read_bundle`.
    """
    checks = checking(data, source=source, expected_id=expected_id)
    while True:
        try:
            next(checks)
        except StopIteration as done:
            bundle: Bundle = done.value
            return bundle


def checking(
    data: bytes, *, source: str, expected_id: str | None = None
) -> Generator[str, None, Bundle]:
    """`parse_bundle` step by step: gives the name of each check before it is made, and the bundle
    in the end. What a check finds wrong is raised when the next one is asked for."""
    yield f"size, at most {MAX_BUNDLE_BYTES // 2**20} MiB"
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(
            f"bundle {source}: {len(data)} bytes, at most {MAX_BUNDLE_BYTES} are accepted: "
            f"{_FETCH_AGAIN}"
        )
    yield "digest of all bytes"
    identity = _digest(data, source)
    if expected_id is not None and identity != expected_id:
        raise BundleError(f"bundle {source}: its id is {identity}, expected {expected_id}")
    yield "form of the archive"
    try:
        longer = archive.count(data) == len(WITH_LIKELIHOOD)
        members = archive.decode(data, WITH_LIKELIHOOD if longer else MEMBERS)
    except archive.ArchiveError as error:
        raise BundleError(f"bundle {source}: {error}: export the bundle again") from error
    yield f"{MANIFEST_NAME}: JSON, version, every key"
    manifest = _parse_manifest(members.pop(MANIFEST_NAME), source)
    if set(members) != set(manifest.files):
        raise BundleError(
            f"bundle {source}: it holds {', '.join(members)}, {MANIFEST_NAME} lists "
            f"{', '.join(manifest.files)}: export the bundle again"
        )
    for name, content in members.items():
        yield f"{name}: size, sha256, operators, inputs and outputs"
        _check_file(name, content, manifest, source)
    return Bundle(identity, manifest, members)


def pack_bundle(manifest: Manifest, graphs: Mapping[str, bytes]) -> bytes:
    """The bundle file's bytes. The same manifest and graphs give the same bytes."""
    # What is as it was before there was a key is left out: readers from then refuse even its name.
    as_before = {
        "likelihood": manifest.likelihood is None,
        "prior_factor": manifest.prior_factor,
        "conversions": not manifest.conversions,
    }
    unknown = {key for key, same in as_before.items() if same}
    fields = json.loads(manifest.model_dump_json(exclude=unknown))  # with infinities as strings
    if manifest.provenance.warm_start is None:
        del fields["provenance"]["warm_start"]
    text = json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False)
    members = {MANIFEST_NAME: text.encode() + b"\n"}
    members |= {name: graphs[name] for name in manifest.signatures}
    return archive.encode(members)


def file_entry(content: bytes) -> FileEntry:
    """The hash and size that a manifest lists for a file."""
    return FileEntry(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def check_compatible(
    manifest: Manifest,
    *,
    robot: str,
    observation_fields: Sequence[FieldSpec],
    action_fields: Sequence[FieldSpec],
    period_s: float,
) -> None:
    """Check that a bundle was made for this robot: model, fields in order, units, widths, period.

    Bounds may differ: the robot's limits keep its own.

    Args:
        manifest: the bundle's.
        robot: this robot's model.
        observation_fields, action_fields: this robot's, in order.
        period_s: this robot's control period.

    Raises:
        BundleMismatch: names the first field that differs, both values, and the cure.
    """
    cure = "export for this robot or change robot.model"
    if manifest.robot != robot:
        raise BundleMismatch(
            f"robot is {robot!r}, the bundle was made for {manifest.robot!r}: {cure}"
        )
    for kind, here, there in (
        ("observation", tuple(observation_fields), manifest.observation_fields),
        ("action", tuple(action_fields), manifest.action_fields),
    ):
        _check_names(kind, here, there, cure)
        for mine, expected in zip(here, there, strict=True):
            where = f"({manifest.robot}, order in {MANIFEST_NAME})"
            if mine.width != expected.width:
                raise BundleMismatch(
                    f"{kind} field {mine.name!r} is {mine.width} wide, "
                    f"the bundle expects {expected.width} {where}: {cure}"
                )
            if mine.unit != expected.unit:
                raise BundleMismatch(
                    f"{kind} field {mine.name!r} is in {mine.unit!r}, "
                    f"the bundle expects {expected.unit!r} {where}: {cure}"
                )
    if not math.isclose(manifest.period_s, period_s, rel_tol=1e-6):
        raise BundleMismatch(
            f"control period is {period_s} s, the bundle was trained at {manifest.period_s} s: "
            "export for this period or change the driver's"
        )


def _check_names(
    kind: str, here: tuple[FieldSpec, ...], there: tuple[FieldSpec, ...], cure: str
) -> None:
    mine, expected = [field.name for field in here], [field.name for field in there]
    for name in expected:
        if name not in mine:
            raise BundleMismatch(
                f"{kind} field {name!r} is missing: the bundle expects {expected}, "
                f"the driver has {mine}: {cure}"
            )
    for name in mine:
        if name not in expected:
            raise BundleMismatch(
                f"{kind} field {name!r} is unknown to the bundle, which expects {expected}: {cure}"
            )
    if mine != expected:
        raise BundleMismatch(
            f"{kind} fields come in the order {mine}, the bundle expects {expected}: {cure}"
        )


def _digest(data: bytes, source: str) -> str:
    try:
        return archive.digest(data)
    except archive.ArchiveError as error:
        raise BundleError(f"bundle {source}: {error}: {_FETCH_AGAIN}") from error


def _parse_manifest(text: bytes, source: str) -> Manifest:
    where = f"bundle {source}, {MANIFEST_NAME}"
    if len(text) > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"{where}: {len(text)} bytes, at most {MAX_MANIFEST_BYTES} are accepted: export fewer "
            "task embeddings or particles"
        )
    try:
        content = pydantic_core.from_json(text)
    except ValueError as error:
        raise BundleError(f"{where}: not JSON ({error}): export the bundle again") from error
    if not isinstance(content, dict):
        raise BundleError(f"{where}: expected an object of named fields: export the bundle again")
    version = content.get("schema_version")
    if type(version) is not int or version not in SCHEMA_VERSIONS:
        known = " or ".join(map(str, SCHEMA_VERSIONS))
        raise BundleError(f"{where}: schema_version is {version!r}, expected {known}: {_UPDATE}")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise BundleError(f"{where}: {_first_problem(error.errors())}: {_UPDATE}") from error


def _first_problem(errors: Sequence[Any]) -> str:
    """The first of pydantic's findings; an unknown name also gets the nearest known one."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), Manifest.model_fields, n=1)
        return f"unknown field {field!r}" + (f", did you mean {near[0]!r}?" if near else "")
    message = first["msg"].removeprefix("Value error, ")
    return f"field {field!r}: {message}" if field else message


def _check_file(name: str, content: bytes, manifest: Manifest, source: str) -> None:
    listed, actual = manifest.files[name], file_entry(content)
    if listed.size != actual.size:
        raise BundleError(
            f"bundle {source}, {name}: {actual.size} bytes, {MANIFEST_NAME} lists {listed.size}: "
            "export the bundle again"
        )
    if listed.sha256 != actual.sha256:
        raise BundleError(
            f"bundle {source}, {name}: its sha256 is {actual.sha256}, {MANIFEST_NAME} lists "
            f"{listed.sha256}: export the bundle again"
        )
    try:
        check_graph(content, manifest.signatures[name])
    except GraphError as error:
        raise BundleError(f"bundle {source}, {name}: {error}") from error
