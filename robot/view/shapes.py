"""Triangles: primitives, meshes made lighter, and their normals. Arithmetic on arrays alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

SIDES = 24  # of what is round


@dataclass(frozen=True)
class Surface:
    """Vertices `(vertex, 3)` in metres, and the three of each face `(face, 3)`."""

    vertices: Floats
    faces: Whole

    def moved(self, rotation: Floats, translation: Floats) -> Surface:
        """Turned by `(3, 3)`, then shifted by `(3,)`."""
        return Surface(self.vertices @ rotation.T + translation, self.faces)


def box(half: Floats) -> Surface:
    """A box around the origin; each side has vertices of its own, so that its edges are sharp."""
    vertices: list[Floats] = []
    faces: list[tuple[int, int, int]] = []
    for axis in range(3):
        others = [(axis + 1) % 3, (axis + 2) % 3]
        for sign in (1.0, -1.0):
            first = len(vertices)
            for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                corner = np.zeros(3)
                corner[axis] = sign * half[axis]
                corner[others] = u * sign * half[others[0]], v * half[others[1]]
                vertices.append(corner)
            faces += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    return Surface(np.array(vertices), np.array(faces))


def ellipsoid(half: Floats) -> Surface:
    """Around the origin, with half axes `(3,)`."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, SIDES // 2 + 1)
    round_one = _revolved(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    return Surface(round_one.vertices * half, round_one.faces)


def capsule(radius: float, half_length: float) -> Surface:
    """Along z, `half_length` to the centre of each end."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, SIDES // 2 + 2)  # none at 0: the ends are halves
    profile = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    profile[:, 1] += np.where(angles > 0, half_length, -half_length)
    return _revolved(profile)


def cylinder(radius: float, half_length: float) -> Surface:
    """Along z."""
    edge = [(radius, -half_length)] * 2 + [(radius, half_length)] * 2
    return _revolved(np.array([(0.0, -half_length), *edge, (0.0, half_length)]))


def simplified(surface: Surface, cell: float) -> Surface:
    """Vertices of one `cell` (m) of a grid are one; faces that this makes nothing of are gone."""
    keys = np.floor(surface.vertices / cell).astype(np.int64)
    _, cluster, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    cluster = cluster.reshape(-1)
    merged = np.zeros((len(counts), 3))
    np.add.at(merged, cluster, surface.vertices)
    faces = cluster[surface.faces]
    distinct = (
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    )
    return Surface(merged / counts[:, None], faces[distinct])


def normals(surface: Surface) -> Floats:
    """Of each vertex `(vertex, 3)`: the mean of its faces', larger ones counting more."""
    corners = surface.vertices[surface.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    found = np.zeros_like(surface.vertices)
    for corner in range(3):
        np.add.at(found, surface.faces[:, corner], across)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    unit: Floats = found / np.maximum(lengths, 1e-12)
    return unit


def joined(surfaces: list[Surface]) -> Surface:
    """All as one."""
    starts = np.cumsum([0, *(len(one.vertices) for one in surfaces)])
    return Surface(
        np.concatenate([one.vertices for one in surfaces]),
        np.concatenate([one.faces + s for one, s in zip(surfaces, starts, strict=False)]),
    )


def _revolved(profile: Floats) -> Surface:
    """A profile `(point, 2)` of radius and height, turned around z; from below, upwards."""
    turns = np.linspace(0.0, 2 * np.pi, SIDES, endpoint=False)
    ring = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    vertices = [np.column_stack([r * ring, np.full(SIDES, z)]) for r, z in profile]
    here, beside = np.arange(SIDES), (np.arange(SIDES) + 1) % SIDES
    faces = []
    for level in range(len(profile) - 1):
        low, high = level * SIDES, (level + 1) * SIDES
        faces.append(np.stack([low + here, low + beside, high + beside], axis=1))
        faces.append(np.stack([low + here, high + beside, high + here], axis=1))
    return Surface(np.concatenate(vertices), np.concatenate(faces))
