"""A stranger's package, made from templates: `fieldtune new`.

Knows names, files and text. It must not import what the packages import, nor know a robot.
"""
