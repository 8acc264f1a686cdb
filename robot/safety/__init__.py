"""What keeps a robot from harm: limits and their making, emergency stop, watchdog, rest, the latch.

`limits` and `joints` hold the rules, pure functions; `build*` make their numbers. Must not know the
loop, the network, nor the policy.
"""
