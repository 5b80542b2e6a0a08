from ant_rl_core.machine import machine


def test_the_machine_is_described():
    facts = machine()
    assert facts["cpu"] and facts["cores"] >= 1 and facts["python"].count(".") == 2
    assert "numpy" in facts["versions"]
