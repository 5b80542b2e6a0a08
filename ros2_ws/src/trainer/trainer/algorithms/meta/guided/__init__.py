"""What guided RL² is made of: guides, experts and students."""
