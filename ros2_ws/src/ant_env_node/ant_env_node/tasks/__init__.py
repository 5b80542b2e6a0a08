"""Tasks for the Ant: what it is rewarded for, and what its body and its world are like."""
