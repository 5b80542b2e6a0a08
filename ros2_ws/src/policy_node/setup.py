from setuptools import find_packages, setup

setup(
    name="policy_node",
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/policy_node"]),
        ("share/policy_node", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="ant_rl maintainers",
    maintainer_email="maintainers@ant-rl.example.org",
    description="Runs a policy bundle: observation in, joint torques out, on the desktop and on the robot.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["policy_node = policy_node.node:main"]},
)
