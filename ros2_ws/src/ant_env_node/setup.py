from setuptools import find_packages, setup

setup(
    name="ant_env_node",
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/ant_env_node"]),
        ("share/ant_env_node", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="ant_rl maintainers",
    maintainer_email="maintainers@ant-rl.example.org",
    description="Simulated Ant robots: a threaded MuJoCo vector environment and the node that serves it.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["env_node = ant_env_node.node:main"]},
)
