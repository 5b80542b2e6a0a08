from setuptools import find_packages, setup

setup(
    name="viewer_node",
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/viewer_node"]),
        ("share/viewer_node", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="ant_rl maintainers",
    maintainer_email="maintainers@ant-rl.example.org",
    description="Shows the robot: in Rerun, in MuJoCo's viewer, as images.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["viewer_node = viewer_node.node:main"]},
)
