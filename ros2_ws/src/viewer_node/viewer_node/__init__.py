"""Shows the robot: in Rerun, in MuJoCo's viewer, as images."""

from ant_rl_core.surroundings.libraries import use_own_settings

use_own_settings()
