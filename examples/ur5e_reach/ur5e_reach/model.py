"""The robot's model: robosuite's UR5e over a table, with a tool and servos that follow velocities.

Knows robosuite's file; must not know tasks. Nothing is copied out of robosuite: its file is read
where it is installed, and its meshes stay there.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from ur5e_reach.kinematics import HOME, JOINTS, TOOL

STRONG, WEAK = 150.0, 28.0  # N m: the large joints', and the wrists', by the maker

# The controller holds the arm's own weight, and nothing here falls: no gravity.
_SURROUNDINGS = f"""
<added>
  <option timestep="0.005" integrator="implicitfast" gravity="0 0 0"/>
  <worldbody>
    <light pos="0.4 0 3"/>
    <geom name="table" type="box" pos="0.65 0 -0.03" size="0.5 0.6 0.03" rgba="0.7 0.6 0.5 1"/>
  </worldbody>
  <keyframe>
    <key name="home" qpos="{" ".join(map(str, HOME))}"/>
  </keyframe>
</added>
"""
_TOOL = f"""
<added>
  <geom name="tool" type="capsule" fromto="0 0 0 0 0 {TOOL - 0.01}" size="0.01" mass="0.2"/>
  <site name="tip" pos="0 0 {TOOL}"/>
</added>
"""


@cache
def mjcf():
    """The whole model as MJCF text."""
    robosuite = find_spec("robosuite")  # without importing it, which takes seconds
    folder = Path(robosuite.submodule_search_locations[0]) / "models/assets/robots/ur5e"
    root = ElementTree.parse(folder / "robot.xml").getroot()
    root.find("compiler").set("meshdir", str(folder))
    _leave_out_finery(root)
    root.remove(root.find("actuator"))  # motors, which an UR's user never commands
    root.extend(ElementTree.fromstring(_SURROUNDINGS))
    root.append(_servos())
    _give_gears(root)
    root.find(".//body[@name='right_hand']").extend(ElementTree.fromstring(_TOOL))
    return ElementTree.tostring(root, encoding="unicode")


def _servos():
    """As the UR's `speedj`: each joint follows a velocity, with no more than its torque."""
    servos = ElementTree.Element("actuator")
    for joint in JOINTS:
        most, gain = (WEAK, 30.0) if joint.startswith("wrist") else (STRONG, 300.0)
        said = {"joint": joint, "kv": gain, "ctrlrange": "-1 1", "forcerange": f"{-most} {most}"}
        ElementTree.SubElement(servos, "velocity", {key: str(value) for key, value in said.items()})
    return servos


def _give_gears(root):
    """What a motor's rotor is to its joint, through the gears: robosuite's file leaves it out."""
    for joint in root.iter("joint"):
        joint.set("armature", "0.05" if joint.get("name").startswith("wrist") else "0.5")


def _leave_out_finery(root):
    """Meshes and materials that are only looked at, and contacts but the tool's with the table: the
    model loads and moves in a tenth of the time."""
    for body in root.iter("body"):
        for geom in body.findall("geom"):
            if geom.get("group") == "1":
                body.remove(geom)
            else:
                geom.set("contype", "0")
                geom.set("conaffinity", "0")
    asset = root.find("asset")
    for item in list(asset):
        if item.tag == "material" or "_vis" in item.get("name"):
            asset.remove(item)
