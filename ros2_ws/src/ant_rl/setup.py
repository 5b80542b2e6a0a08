from glob import glob

from setuptools import find_packages, setup

setup(
    name="ant_rl",
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/ant_rl"]),
        ("share/ant_rl", ["package.xml"]),
        ("share/ant_rl/launch", glob("launch/*.launch.py")),
        ("share/ant_rl/config", glob("config/*")),
        ("share/ant_rl/policies", glob("policies/*")),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="ant_rl maintainers",
    maintainer_email="maintainers@ant-rl.example.org",
    description="The whole stack: launch files, configuration, shipped policies and the commands behind ./run.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["status_node = ant_rl.node:main"]},
)
