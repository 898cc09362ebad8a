"""Environment variables that are looked at often."""

from pto.core import environment


def test_a_variable_is_set_from_when_it_is_until_it_is_not(monkeypatch):
    name = "PTO_OF_A_TEST"
    monkeypatch.delenv(name, raising=False)
    assert not environment.is_set(name)
    for value in ("", "all"):
        monkeypatch.setenv(name, value)
        assert environment.is_set(name)
    monkeypatch.delenv(name)
    assert not environment.is_set(name)


def test_where_python_keeps_them_elsewhere_any_may_be_set(monkeypatch):
    monkeypatch.setattr(environment, "_VALUES", None)
    assert environment.is_set("PTO_OF_A_TEST")
