import pytest


@pytest.fixture(autouse=True)
def _checked_fields(monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_PYTHON_CHECK_FIELDS", "1")
    monkeypatch.setenv("ROS_DOMAIN_ID", "24")
