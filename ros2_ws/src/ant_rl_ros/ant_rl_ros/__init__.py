"""What the nodes share of ROS 2: the kept wait set, the QoS table, the node base."""
