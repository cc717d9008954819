"""A container's endpoints: whose they are, and what becomes of them."""

import os
from pathlib import Path

import pytest

from builder.containers.model import Container, new_id
from builder.containers.network import Attachments, NetworkPlan
from builder.containers.records import Records
from builder.containers.request import ContainerRequest
from builder.networks import bridge
from builder.networks.model import Endpoint, start_ticks
from builder.networks.registry import Networks
from builder.oci.config import RunConfig

pytestmark = [pytest.mark.root, pytest.mark.namespaces]


def container() -> Container:
    identifier = new_id()
    request = ContainerRequest("box")
    return Container(
        id=identifier,
        name="box",
        created="",
        image="box",
        image_id="",
        manifest="",
        snapshot=None,
        platform="",
        config=RunConfig(),
        argv=("true",),
        hostname="box",
        request=request,
    )


def test_what_the_next_run_was_given_stays_when_the_last_one_gives_back(tmp_path: Path) -> None:
    networks, one = Networks(str(tmp_path)), container()
    plan = NetworkPlan(str(tmp_path), is_root=True, warn=lambda _text: None)
    attachments = Attachments(one, Records(str(tmp_path)), plan)
    attachments.connect()
    namespace = bridge.new_namespace()
    number = os.urandom(32).hex()
    wanted = Endpoint("", "", one.id, "box", number, "", 0, "", "", "eth0", "")
    following = wanted._replace(pid=os.getppid(), start_ticks=start_ticks(os.getppid()))
    following = bridge.connect(networks, "bridge", following, namespace)
    try:
        attachments.disconnect()

        assert networks.all_endpoints(networks.get("bridge")) == [following]
    finally:
        bridge.disconnect(networks, following)
        os.close(namespace)
