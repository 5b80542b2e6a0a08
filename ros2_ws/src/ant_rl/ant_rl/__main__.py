"""`python -m ant_rl VERB …`."""

import sys

from ant_rl.cli import program

sys.exit(program(sys.argv[1:]))
