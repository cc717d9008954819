"""`RUN --mount=type=ssh` with the agent of OpenSSH itself."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import clean_environment
from tests.end_to_end.processes import eventually, processes_with
from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test-key", "-f", str(path)]
    try:
        subprocess.run(words, check=True)
    except FileNotFoundError:
        pytest.skip("no OpenSSH")
    return path


@pytest.fixture
def agent(tmp_path: Path, key: Path) -> Iterator[Path]:
    """Start an agent that holds the key, and give its socket."""
    path = tmp_path / "a"
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as process:
        while not path.exists():
            time.sleep(0.01)
        environment = {**clean_environment(), "SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
        yield path
        process.terminate()


@pytest.fixture
def tools(site: Site) -> Site:
    """Put ssh-add with its libraries into the build context."""
    program = shutil.which("ssh-add")
    assert program is not None
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for word in (program, *(w for w in listed.split() if w.startswith("/"))):
        path = site.context / "root" / word.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(word, path)
    return site


def test_a_step_uses_the_keys_of_the_agent(tools: Site, agent: Path) -> None:
    before = os.stat(agent)

    tree = tools.tree(
        "FROM busybox\nCOPY root /\n"
        "RUN --mount=type=ssh,target=/s,mode=0622,uid=0,gid=4"
        " ssh-add -l > /keys; ls -ln /s > /socket; echo $SSH_AUTH_SOCK > /path\n",
        "--ssh=default",
        SSH_AUTH_SOCK=str(agent),
    )

    assert b"test-key (ED25519)" in tree["keys"].content
    assert tree["path"].content == b"/s\n"
    fields = tree["socket"].content.split()
    assert (fields[0], fields[2], fields[3]) == (b"srw--w--w-", b"0", b"4")
    assert (os.stat(agent).st_mode, os.stat(agent).st_uid) == (before.st_mode, before.st_uid)
    assert "s" not in tree


def test_several_agents_have_sockets_of_their_own(tools: Site, agent: Path) -> None:
    tree = tools.tree(
        "FROM busybox\nCOPY root /\n"
        "RUN --mount=type=ssh,id=a --mount=type=ssh,id=b"
        " for s in /run/buildkit/ssh_agent.*; do SSH_AUTH_SOCK=$s ssh-add -l; done > /keys\n",
        f"--ssh=a={agent}",
        f"--ssh=b={agent}",
    )

    assert tree["keys"].content.count(b"test-key") == 2


def test_a_private_key_gets_an_agent_that_ends_with_the_step(tools: Site, key: Path) -> None:
    tree = tools.tree(
        "FROM busybox\nCOPY root /\nRUN --mount=type=ssh ssh-add -l > /keys\n",
        f"--ssh=default={key}",
    )

    assert b"test-key (ED25519)" in tree["keys"].content
    assert eventually(lambda: not processes_with(f"{tools.state}/tmp"))


def test_without_an_agent_only_a_required_one_is_an_error(site: Site) -> None:
    optional = "FROM busybox\nRUN --mount=type=ssh echo $SSH_AUTH_SOCK > /path\n"
    required = "FROM busybox\nRUN --mount=type=ssh,required=true true\n"

    tree = site.tree(optional)
    built = site.build(required, status=1)

    assert tree["path"].content == b"/run/buildkit/ssh_agent.0\n"
    assert 'no SSH key "default" forwarded from the client' in built.stderr


def test_an_agent_that_is_not_there_is_named(site: Site) -> None:
    built = site.build("FROM busybox\n", "--ssh=default=/nowhere", status=1)

    assert "'/nowhere', which does not exist" in built.stderr
