"""Who is who where names are not enough."""
