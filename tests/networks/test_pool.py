"""Networks for the steps of a build: lent again and again, and taken down at the end."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.networks.netlink import Routes
from builder.networks.pool import NetworkPool
from builder.networks.registry import DEFAULT, Networks

pytestmark = pytest.mark.root


def has_bridge(networks: Networks) -> bool:
    with Routes() as routes:
        return routes.link(networks.get(DEFAULT).bridge) is not None


def test_a_namespace_serves_one_step_after_the_other(tmp_path: Path) -> None:
    networks = Networks(str(tmp_path))

    with NetworkPool(networks, is_root=True) as pool:
        with pool.lease() as first:
            assert has_bridge(networks)
        with pool.lease() as second, pool.lease() as third:
            assert first == second != third

    assert not has_bridge(networks)


def test_it_is_taken_down_later_even_if_the_state_directory_is_gone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    networks = Networks(str(state))
    later: list[Callable[[], None]] = []
    with NetworkPool(networks, is_root=True, later=later.append) as pool, pool.lease():
        pass
    is_left = has_bridge(networks)
    shutil.rmtree(state)

    for work in later:
        work()

    assert is_left
    assert not has_bridge(networks)
    assert not state.exists()
