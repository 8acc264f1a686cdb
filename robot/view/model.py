"""The robot in 3-D: its model's bodies as triangles, and where they are by its joints' positions.

The one file of this room that reaches for mujoco, and when it is asked: a robot's computer without
it shows numbers in the place of the model. It must not know the viewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import LimitsConfig
from fieldtune.robot.safety.models.read import locate
from fieldtune.robot.safety.models.xml_tree import ModelError
from fieldtune.robot.safety.units import of_one
from fieldtune.robot.view.shapes import (
    Surface,
    box,
    capsule,
    cylinder,
    ellipsoid,
    joined,
    normals,
    simplified,
)

Floats = NDArray[np.float64]

CELL = 0.006  # m; finer detail of a mesh is not shown
_FLOOR = "package://gymnasium/envs/mujoco/assets/"
_ARMS = "package://robosuite/models/assets/robots/"

# Where models of robots lie that come with the families; their joints are the model's last ones.
KNOWN: Mapping[str, str] = {
    "ant": f"{_FLOOR}ant.xml",
    "half-cheetah": f"{_FLOOR}half_cheetah.xml",
    "hopper": f"{_FLOOR}hopper.xml",
    "humanoid": f"{_FLOOR}humanoid.xml",
    "panda": f"{_ARMS}panda/robot.xml",
    "sawyer": f"{_ARMS}sawyer/robot.xml",
    "walker2d": f"{_FLOOR}walker2d.xml",
}
POSITION = "joint_position"  # the field of theirs, in rad


class NoModel(Exception):
    """There is no model to show. The message says why, and what to install or to set."""


@dataclass(frozen=True)
class JointColumn:
    """A joint by its name, the column of the observation that it is, and what that counts in rad
    or m."""

    name: str
    column: int
    factor: float


@dataclass(frozen=True)
class Body:
    """One body in its own frame. `colours` are `(vertex, 4)`, 0 to 255."""

    name: str
    surface: Surface
    normals: Floats
    colours: NDArray[np.uint8]


class Model:
    """A robot's model. `bodies` are those that have something to show.

    Args:
        place: of MJCF or URDF: a path, or `package://PACKAGE/PATH`.
        joints: which columns of an observation its joints are; None takes the field
            `joint_position` and as many of the model's last joints.
        fields: of an observation, in order.

    Raises:
        NoModel: mujoco is not installed, cannot read the model, or the model lacks a joint.
    """

    def __init__(
        self, place: str, joints: Sequence[JointColumn] | None, fields: Sequence[FieldSpec]
    ) -> None:
        try:
            import mujoco
        except ImportError as error:
            raise NoModel(
                f'the robot is shown in 3-D where mujoco is installed ({error}): pip install "mujoco<3.10"'  # noqa: E501
            ) from error
        self._mujoco = mujoco
        try:
            self._model = mujoco.MjModel.from_xml_path(str(locate(place)))
        except (ValueError, ModelError, OSError) as error:
            said = next(iter(str(error).splitlines()), "no reason given")
            raise NoModel(f"{place}: mujoco cannot read the model: {said}") from error
        self._data = mujoco.MjData(self._model)
        joints = self._last_joints(fields) if joints is None else joints
        self._columns = [one.column for one in joints]
        self._factors = np.array([one.factor for one in joints])
        self._addresses = [self._address(one.name, place) for one in joints]
        self.bodies: list[Body] = []
        self._shown: list[int] = []
        for body in range(self._model.nbody):
            shown = self._body(body)
            if shown is not None:
                self.bodies.append(shown)
                self._shown.append(body)

    def poses(self, observations: Floats) -> tuple[Floats, Floats]:
        """Where the bodies are, for observations `(n, observation)`.

        Returns:
            Positions `(n, body, 3)` in metres and quaternions `(n, body, 4)`, x y z w, in the
            model's own frame.
        """
        places, turns = [], []
        for observation in observations:
            self._data.qpos[self._addresses] = observation[self._columns] * self._factors
            self._mujoco.mj_kinematics(self._model, self._data)
            places.append(self._data.xpos[self._shown].copy())
            turns.append(self._data.xquat[self._shown][:, [1, 2, 3, 0]])
        return np.array(places), np.array(turns)

    def _last_joints(self, fields: Sequence[FieldSpec]) -> list[JointColumn]:
        start = 0
        for field in fields:
            if field.name == POSITION:
                break
            start += field.width
        else:
            raise NoModel(f"no observation field {POSITION!r}: set robot.limits.joints")
        turning = [j for j in range(self._model.njnt) if self._one_number(j)]
        names = [self._model.joint(j).name for j in turning[-field.width :]]
        if len(names) < field.width:
            raise NoModel(f"the model has {len(names)} joints, {POSITION} {field.width} numbers")
        return [JointColumn(name, start + i, 1.0) for i, name in enumerate(names)]

    def _one_number(self, joint: int) -> bool:
        kinds = self._mujoco.mjtJoint
        return self._model.jnt_type[joint] in (kinds.mjJNT_HINGE, kinds.mjJNT_SLIDE)

    def _address(self, name: str, place: str) -> int:
        joint = self._mujoco.mj_name2id(self._model, self._mujoco.mjtObj.mjOBJ_JOINT, name)
        if joint < 0 or not self._one_number(joint):
            raise NoModel(f"{place}: no hinge or slide {name!r} (robot.limits.joints)")
        return int(self._model.jnt_qposadr[joint])

    def _body(self, body: int) -> Body | None:
        model = self._model
        first, count = model.body_geomadr[body], model.body_geomnum[body]
        geoms = [g for g in range(first, first + count) if self._is_shown(g, first, count)]
        surfaces, colours = [], []
        for geom in geoms:
            surface = self._surface(geom)
            if surface is None or not len(surface.faces):
                continue
            rotation = np.zeros(9)
            self._mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
            surfaces.append(surface.moved(rotation.reshape(3, 3), model.geom_pos[geom]))
            colours.append(np.tile(self._colour(geom), (len(surface.vertices), 1)))
        if not surfaces:
            return None
        whole = joined(surfaces)
        name = model.body(body).name or f"body {body}"
        return Body(name, whole, normals(whole), np.concatenate(colours))

    def _is_shown(self, geom: int, first: int, count: int) -> bool:
        """What is there to be seen; where nothing is, what is there to be touched."""
        model = self._model
        seen = [
            g
            for g in range(first, first + count)
            if not (model.geom_contype[g] or model.geom_conaffinity[g])
        ]
        return geom in seen if seen else bool(model.geom_group[geom] <= 2)

    def _surface(self, geom: int) -> Surface | None:
        model, kinds = self._model, self._mujoco.mjtGeom
        kind, size = model.geom_type[geom], model.geom_size[geom].astype(np.float64)
        if kind == kinds.mjGEOM_MESH:
            return simplified(self._mesh(model.geom_dataid[geom]), CELL)
        made: dict[Any, Surface | None] = {
            kinds.mjGEOM_BOX: box(size),
            kinds.mjGEOM_SPHERE: ellipsoid(np.full(3, size[0])),
            kinds.mjGEOM_ELLIPSOID: ellipsoid(size),
            kinds.mjGEOM_CAPSULE: capsule(size[0], size[1]),
            kinds.mjGEOM_CYLINDER: cylinder(size[0], size[1]),
        }
        return made.get(kind)

    def _mesh(self, mesh: int) -> Surface:
        model = self._model
        vertex, vertices = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        face, faces = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        return Surface(
            model.mesh_vert[vertex : vertex + vertices].astype(np.float64),
            model.mesh_face[face : face + faces].astype(np.int64),
        )

    def _colour(self, geom: int) -> NDArray[np.uint8]:
        material = self._model.geom_matid[geom]
        rgba = self._model.geom_rgba[geom] if material < 0 else self._model.mat_rgba[material]
        colour: NDArray[np.uint8] = np.clip(rgba * 255, 0, 255).astype(np.uint8)
        return colour


def model_of(
    limits: LimitsConfig | None, given: str | None, robot: str, fields: Sequence[FieldSpec]
) -> Model:
    """The model to show a robot by.

    Args:
        limits: of its configuration, whose `model` and `joints` are taken; None without one.
        given: a model's place, in the place of the configured one.
        robot: its name in the bundle, for the models that families bring.
        fields: of an observation.

    Raises:
        NoModel: there is none, or it cannot be shown.
    """
    place = given or (limits.model if limits is not None else None) or KNOWN.get(robot)
    if place is None:
        raise NoModel(
            f"no model of robot {robot!r} is known: set robot.limits.model and "
            "robot.limits.joints, or give --model"
        )
    columns = None if limits is None else _columns(limits, fields)
    return Model(place, columns or None, fields)


def _columns(limits: LimitsConfig, fields: Sequence[FieldSpec]) -> list[JointColumn]:
    starts, start = {}, 0
    for field in fields:
        starts[field.name] = start, field
        start += field.width
    found = []
    for group in limits.joints:
        if group.position is None or group.position not in starts:
            continue
        first, field = starts[group.position]
        scale = 1.0 / of_one(field.unit)
        found += [JointColumn(name, first + i, scale) for i, name in enumerate(group.names)]
    return found
