"""`python -m ant_rl VERB …`."""

import sys

from ant_rl.cli import program
from ant_rl_core.surroundings.libraries import use_own_settings

use_own_settings()
sys.exit(program(sys.argv[1:]))
