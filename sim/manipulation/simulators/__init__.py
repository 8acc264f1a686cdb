"""Arms over a scene: compiled batches, and robosuite's single robot.

Take arm, scene and start; must not know the family that makes them.
"""
