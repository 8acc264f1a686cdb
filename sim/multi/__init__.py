"""The `multi` family: press, open or pick and place; which of them, no observation shows."""
