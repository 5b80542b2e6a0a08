"""What of a task moves: places seen from a robot that goes, and balls that roll at it."""
