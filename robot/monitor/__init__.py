"""What a running robot says about itself, and how people and systemd read it.

Must never be waited for by the loop.
"""
