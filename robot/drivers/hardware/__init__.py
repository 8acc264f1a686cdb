"""The `zmq` driver: hardware behind a server in another process.

Speaks the frames that `servers/` answer. Must not know the loop, nor any one robot.
"""
