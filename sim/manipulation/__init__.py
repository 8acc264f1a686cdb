"""What the families on robosuite share: arms, scenes, the truth, the compiled batch, scripts."""
