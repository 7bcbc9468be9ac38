import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from hosts import Host  # noqa: E402

import pouw._mining  # noqa: E402


@pytest.fixture(autouse=True)
def no_miner(monkeypatch):
    """Each test begins outside a task."""
    monkeypatch.delenv("POUW_MINING_SOCKET", raising=False)
    monkeypatch.setattr(pouw._mining, "_miner", None)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host whose socket the process finds."""
    made = Host(tmp_path)
    monkeypatch.setenv("POUW_MINING_SOCKET", made.path)
    yield made
    made.stop()
    assert os.path.exists(made.path)
