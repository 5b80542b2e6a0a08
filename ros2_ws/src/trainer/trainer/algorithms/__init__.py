"""Learning methods, one file each; `TABLE` names them."""
