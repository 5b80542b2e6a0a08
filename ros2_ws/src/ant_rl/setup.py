from glob import glob
from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

manifest = ElementTree.parse(Path(__file__).resolve().with_name("package.xml")).getroot()

setup(
    **{field: manifest.findtext(field) for field in ("name", "version", "description", "maintainer", "license")},
    maintainer_email=manifest.find("maintainer").get("email"),
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/ant_rl"]),
        ("share/ant_rl", ["package.xml"]),
        ("share/ant_rl/launch", glob("launch/*.launch.py")),
        ("share/ant_rl/config", glob("config/*")),
        ("share/ant_rl/policies", glob("policies/*")),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},  # colcon test then runs pytest
    zip_safe=True,
    entry_points={
        "console_scripts": ["status_node = ant_rl.node:main"],
        "ant_rl.settings": ["status_node = ant_rl.settings:StatusSettings"],
    },
)
