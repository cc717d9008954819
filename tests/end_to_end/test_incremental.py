"""An incremental build gives what a build from nothing gives, whatever was edited in between."""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.end_to_end.editing import edit_and_compare
from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces

EDITS = 3


@settings(
    max_examples=8,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(random=st.randoms(use_true_random=False))
def test_edits_lead_where_a_clean_build_leads(site: Site, clean: Site, random: Random) -> None:
    with TemporaryDirectory(dir=site.directory) as folder:
        problem = edit_and_compare(random, (site, clean), Path(folder), edits=EDITS)

        assert problem is None, str(problem)
