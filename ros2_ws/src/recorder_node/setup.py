from setuptools import find_packages, setup

setup(
    name="recorder_node",
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/recorder_node"]),
        ("share/recorder_node", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="ant_rl maintainers",
    maintainer_email="maintainers@ant-rl.example.org",
    description="Records the topics of the stack as a standard rosbag2: MCAP or SQLite.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["recorder_node = recorder_node.node:main"]},
)
