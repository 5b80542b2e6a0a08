"""What a program does not take from where it was started: settings of Python, of libraries and of ROS."""
