"""The user of a step is that of the tree it runs in, however often it was asked for before."""

import pytest

from tests.end_to_end.site import Site

pytestmark = pytest.mark.root


def test_a_changed_passwd_counts_for_the_next_step(site: Site) -> None:
    site.build(
        "FROM busybox\n"
        "RUN echo web:x:5:6::/first:/bin/sh >> /etc/passwd\nUSER web\nRUN [ $(id -u) = 5 ]\n"
        "RUN [ $HOME = /first ]\n"
        "USER root\nRUN sed -i s/web:x:5:6::.first/web:x:7:8::\\\\/second/ /etc/passwd\n"
        "USER web\nRUN [ $(id -u):$(id -g):$HOME = 7:8:/second ]\n"
    )


def test_a_linked_passwd_may_change_elsewhere(site: Site) -> None:
    site.build(
        "FROM busybox\n"
        "RUN mv /etc/passwd /var/p && ln -s /var/p /etc/passwd\n"
        "RUN echo web:x:5:6::/:/bin/sh >> /var/p\n"
        "USER web\nRUN [ $(id -u) = 5 ]\n"
        "USER root\nRUN sed -i s/web:x:5/web:x:9/ /var/p\n"
        "USER web\nRUN [ $(id -u) = 9 ]\n"
    )
