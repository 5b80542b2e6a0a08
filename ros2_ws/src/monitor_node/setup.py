from setuptools import find_packages, setup

setup(
    name="monitor_node",
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/monitor_node"]),
        ("share/monitor_node", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="ant_rl maintainers",
    maintainer_email="maintainers@ant-rl.example.org",
    description="Measures the stack's processes on one host and publishes statistics and diagnostics.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["monitor_node = monitor_node.node:main"]},
)
