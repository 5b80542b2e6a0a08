"""`python -m ant_rl VERB …`."""

import sys

from ant_rl.cli import main

sys.exit(main(sys.argv[1:]))
