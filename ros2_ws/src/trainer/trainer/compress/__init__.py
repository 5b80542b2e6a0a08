"""From one policy bundle to smaller ones, and what was gained and lost."""
