"""Records the topics of the stack as a standard rosbag2: MCAP or SQLite."""
