"""Models of the environment: what comes of a state and an action, learned, perfect, copied or spoiled."""
