"""The one import package: what its halves share, and links to them.

`fieldtune.train`, `.robot`, `.sim` and `.export` are the folders beside this one. What stands here
is used by all of them, and must know none.
"""
