"""What the recorder's tests share."""

import sys
from pathlib import Path

# For damaged_bags; behind the others, as the whole system's tests have a module test_recording too.
sys.path.append(str(Path(__file__).parent))
