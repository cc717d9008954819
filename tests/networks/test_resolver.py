from builder.networks import resolver
from builder.networks.resolver import Resolution


def test_a_file_is_read_and_written_back() -> None:
    text = "nameserver 10.0.0.1\nsearch a.test b.test\noptions ndots:2 timeout:1\n"

    assert resolver.resolv_conf(resolver.parse(text)) == text


def test_comments_and_unknown_lines_are_left_out() -> None:
    found = resolver.parse("# nameserver 1.1.1.1\n; x y\nsortlist 1.2.3.4\nnameserver 9.9.9.9\n")

    assert found == Resolution(("9.9.9.9",))


def test_servers_on_loopback_or_a_link_cannot_be_reached() -> None:
    servers = ("127.0.0.53", "::1", "fe80::1%eth0", "10.0.0.1")

    assert resolver.reachable(servers) == ("10.0.0.1",)


def test_a_named_network_has_its_own_server() -> None:
    found = resolver.container_resolution(dns=("1.2.3.4",), search=(), options=(), has_names=True)

    assert found.servers == (resolver.EMBEDDED_SERVER,)
    assert "ndots:0" in found.options


def test_what_was_asked_for_replaces_the_hosts_settings() -> None:
    found = resolver.container_resolution(
        dns=("127.0.0.9",), search=("x.test",), options=("ndots:5",), has_names=False
    )

    assert found == Resolution(("127.0.0.9",), ("x.test",), ("ndots:5",))


def test_hosts_begin_with_the_local_names() -> None:
    text = resolver.hosts([("172.17.0.2", ["box.test", "box"])], [("peer", "10.9.8.7")])

    assert text.startswith("127.0.0.1\tlocalhost\n")
    assert text.endswith("10.9.8.7\tpeer\n172.17.0.2\tbox.test box\n")
