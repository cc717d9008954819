"""Eight builders share a store and each is killed once: what they leave is as if none had been."""

from random import Random

import pytest

from tests.end_to_end.killing import torture
from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces


def test_builders_that_are_killed_leave_nothing_behind(site: Site, clean: Site) -> None:
    problem = torture(Random(1), site, clean)

    assert problem is None
