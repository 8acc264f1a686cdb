"""Running robots of gymnasium: families, their batched simulators, bodies that vary.

Must not know manipulation.
"""
