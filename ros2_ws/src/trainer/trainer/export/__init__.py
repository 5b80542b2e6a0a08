"""From learned networks to the files of a policy bundle."""
