"""What a program does not take from where it was started: other people's settings of Python, of libraries and of ROS."""
