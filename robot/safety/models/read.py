"""What a robot's own model says about its joints, whichever language it is written in.

Holds the facts and finds the file. It must not know fields, configs or rules.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from xml.etree.ElementTree import Element

from fieldtune.robot.safety.models.joint import JointModel
from fieldtune.robot.safety.models.xml_tree import ModelError, read_tree

PACKAGE = "package://"


def read_model(place: str) -> dict[str, JointModel]:
    """Every named hinge and slide of a model, by name.

    Args:
        place: a path to MJCF or URDF, or `package://PACKAGE/PATH` inside an installed Python
            package, which is found without being imported.

    Raises:
        ModelError: whatever is wrong with it, and nothing else.
    """
    from fieldtune.robot.safety.models.mjcf import mjcf_joints
    from fieldtune.robot.safety.models.urdf import urdf_joints

    path = locate(place)
    root = read_tree(path)
    languages: dict[str, Callable[[Element, Path], dict[str, JointModel]]] = {
        "mujoco": mjcf_joints,
        "robot": urdf_joints,
    }
    if root.tag not in languages:
        raise ModelError(
            f"{path}: the root element is <{root.tag}>: expected <mujoco> (MJCF) or <robot> (URDF)"
        )
    return languages[root.tag](root, path)


def locate(place: str) -> Path:
    """The file that a place means, whether it is there or not; as `read_model`."""
    if not place.startswith(PACKAGE):
        return Path(place)
    package, _, inside = place.removeprefix(PACKAGE).partition("/")
    try:
        spec = find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations or not inside:
        raise ModelError(
            f"{place}: no installed package {package!r} with files: expected "
            "package://PACKAGE/PATH, or a path"
        )
    return Path(next(iter(spec.submodule_search_locations))) / inside
