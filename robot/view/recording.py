"""What is shown, in Rerun's words: the one file that writes into a recording of Rerun's.

Knows archetypes and timelines; not what any of it means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.robot.view.model import Body

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]

APPLICATION = "fieldtune"
TIME, STEP = "time", "step"  # timelines
SERIES: tuple[Colour, ...] = (
    (76, 154, 255),
    (255, 152, 56),
    (80, 200, 120),
    (240, 98, 146),
    (171, 130, 255),
    (255, 213, 79),
    (77, 208, 225),
    (189, 189, 189),
)


class NoViewer(UserError):
    """Rerun is not installed, or cannot be used. The message says what to do."""


def rerun() -> Any:
    """The library. Raises `NoViewer` with what to install."""
    try:
        import rerun as library
    except ImportError as error:
        raise NoViewer(
            f'a view needs the package rerun-sdk ({error}): pip install "fieldtune[view]"'
        ) from error
    return library


@dataclass(frozen=True)
class Times:
    """When: nanoseconds on the timeline `time`, and a running number on the timeline that is called
    `count`; both `(n,)`. Without numbers there is time alone."""

    ns: NDArray[np.int64]
    numbers: NDArray[np.int64] | None = None
    count: str = STEP

    def __len__(self) -> int:
        return len(self.ns)

    def at(self, chosen: Any) -> Times:
        """Some of them, by index, mask or slice."""
        numbers = None if self.numbers is None else self.numbers[chosen]
        return Times(self.ns[chosen], numbers, self.count)


def moment(ns: int) -> Times:
    """One time."""
    return Times(np.array([ns], dtype=np.int64))


def path(*parts: str) -> str:
    """An entity's path of names that may hold anything."""
    return str(rerun().new_entity_path(list(parts)))


class Recording:
    """One stream of Rerun's; where it goes is for target.py to say."""

    def __init__(self, name: str) -> None:
        self._rr = rerun()
        self.stream = self._rr.new_recording(APPLICATION, recording_id=name)

    def connect(self, address: str) -> None:
        """Send to the viewer or server at `HOST:PORT`."""
        self._rr.connect_tcp(address, recording=self.stream)

    def arrange(self, blueprint: Any) -> None:
        """How the viewer is laid out, from now on."""
        self._rr.send_blueprint(blueprint, recording=self.stream)

    def series(self, where: str, name: str, colour: Colour, *, width: float = 1.5) -> None:
        """How the line of an entity's scalars looks, for all times."""
        line = self._rr.SeriesLine(color=colour, name=name, width=width)
        self.stream.log(where, line, static=True)

    def scalars(self, where: str, times: Times, values: Sequence[float] | Floats) -> None:
        """One number each time."""
        self._columns(where, times, self._rr.Scalar.columns(scalar=np.asarray(values, float)))

    def event(self, times: Times, text: str, level: str = "INFO", where: str = "events") -> None:
        """A line of the log: levels are `INFO`, `WARN` and `ERROR`."""
        columns = self._rr.TextLog.columns(text=[text] * len(times), level=[level] * len(times))
        self._columns(where, times, columns)

    def document(self, where: str, times: Times | None, markdown: str) -> None:
        """A page of Markdown; one for all times where no time is given."""
        media = self._rr.MediaType.MARKDOWN
        if times is None:
            self.stream.log(where, self._rr.TextDocument(markdown, media_type=media), static=True)
        else:
            columns = self._rr.TextDocument.columns(text=[markdown], media_type=[media])
            self._columns(where, times, columns)

    def upright(self, where: str) -> None:
        """What is below is in metres, with z up."""
        self.stream.log(where, self._rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)

    def body(self, where: str, body: Body) -> None:
        """A body's triangles, for all times."""
        mesh = self._rr.Mesh3D(
            vertex_positions=body.surface.vertices.astype(np.float32),
            triangle_indices=body.surface.faces.astype(np.uint32),
            vertex_normals=body.normals.astype(np.float32),
            vertex_colors=body.colours,
        )
        self.stream.log(where, mesh, static=True)

    def poses(self, where: str, times: Times, positions: Floats, quaternions: Floats) -> None:
        """Where a body is each time: `(n, 3)` and `(n, 4)`, x y z w."""
        columns = self._rr.Transform3D.columns(translation=positions, quaternion=quaternions)
        self._columns(where, times, columns)

    def ball(self, where: str, name: str, colour: Colour, radius: float) -> None:
        """How a point that moves looks, for all times."""
        look = self._rr.Points3D.from_fields(colors=[colour], radii=[radius], labels=[name])
        self.stream.log(where, look, static=True)

    def ball_at(self, where: str, times: Times, positions: Floats) -> None:
        """Where a point is each time, `(n, 3)`."""
        self._columns(where, times, self._rr.Points3D.columns(positions=positions))

    def arrows(
        self, where: str, times: Times, origins: Floats, vectors: Floats, colours: NDArray[np.uint8]
    ) -> None:
        """One arrow each time: `(n, 3)` each, and `(n, 3)` 0 to 255."""
        columns = self._rr.Arrows3D.columns(origins=origins, vectors=vectors, colors=colours)
        self._columns(where, times, columns)

    def cloud(
        self,
        where: str,
        times: Times,
        positions: Floats,
        radii: Floats,
        colours: NDArray[np.uint8],
        labels: Sequence[str] | None = None,
    ) -> None:
        """Points in two or three dimensions at one time, `(n, 2 or 3)`."""
        flat = positions.shape[1] == 2
        points = self._rr.Points2D if flat else self._rr.Points3D
        shown = {} if labels is None else {"labels": list(labels), "show_labels": [False]}
        columns = points.columns(positions=positions, radii=radii, colors=colours, **shown)
        self._columns(where, times, columns.partition([len(positions)]))

    def _columns(self, where: str, times: Times, columns: Any) -> None:
        if not len(times):
            return
        indexes = [self._rr.TimeNanosColumn(TIME, times.ns)]
        if times.numbers is not None:
            indexes.append(self._rr.TimeSequenceColumn(times.count, times.numbers))
        self._rr.send_columns(where, indexes, columns, recording=self.stream)
