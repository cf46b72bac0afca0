"""How left sides of statements are measured: on the flow, on cones, by draws, by descent."""
