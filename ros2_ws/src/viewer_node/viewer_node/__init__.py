"""Shows the robot: in Rerun, in MuJoCo's viewer, as images."""
