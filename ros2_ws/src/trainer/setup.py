from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

manifest = ElementTree.parse(Path(__file__).resolve().with_name("package.xml")).getroot()

setup(
    **{field: manifest.findtext(field) for field in ("name", "version", "description", "maintainer", "license")},
    maintainer_email=manifest.find("maintainer").get("email"),
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/trainer"]),
        ("share/trainer", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},  # colcon test then runs pytest
    zip_safe=True,
    entry_points={
        "console_scripts": ["trainer_node = trainer.ros.node:main"],
        "ant_rl.settings": ["trainer_node = trainer.ros.settings:TrainerSettings"],
        "ant_rl.methods": ["trainer = trainer.algorithms.table:ALGORITHMS"],
        "ant_rl.verbs": ["train = trainer.verbs:TRAIN", "eval = trainer.verbs:EVALUATE",
                         "compress = trainer.verbs:COMPRESS"],
    },
)
