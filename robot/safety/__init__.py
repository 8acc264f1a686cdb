"""What keeps a robot from harm: limits as pure functions, and the latched fault."""
