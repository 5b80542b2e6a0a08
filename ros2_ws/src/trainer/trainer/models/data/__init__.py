"""What models of the environment learn from and are judged on."""
