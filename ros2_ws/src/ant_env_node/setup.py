from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

manifest = ElementTree.parse(Path(__file__).resolve().with_name("package.xml")).getroot()

setup(
    **{field: manifest.findtext(field) for field in ("name", "version", "description", "maintainer", "license")},
    maintainer_email=manifest.find("maintainer").get("email"),
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/ant_env_node"]),
        ("share/ant_env_node", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},  # colcon test then runs pytest
    zip_safe=True,
    entry_points={
        "console_scripts": ["env_node = ant_env_node.node:main"],
        "ant_rl.verbs": ["tasks = ant_env_node.verbs:TASKS"],
        "ant_rl.tasks": ["ant_env_node = ant_env_node.tasks.names:NAMES"],
        "ant_rl.settings": ["env_node = ant_env_node.settings:EnvSettings"],
    },
)
