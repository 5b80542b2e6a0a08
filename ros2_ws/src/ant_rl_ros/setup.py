from setuptools import find_packages, setup

setup(
    name="ant_rl_ros",
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/ant_rl_ros"]),
        ("share/ant_rl_ros", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="ant_rl maintainers",
    maintainer_email="maintainers@ant-rl.example.org",
    description="What the nodes of the stack share of ROS 2: the kept wait set, the QoS table, the node base.",
    license="Apache-2.0",
)
