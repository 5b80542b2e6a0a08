"""Learning methods, one file each, in a package for each family; `table.py` joins the families' tables."""
