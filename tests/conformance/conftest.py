"""The example of a scenario in a package of its own goes through every contract as well."""

import pytest

from tests.example_plugins import installed


@pytest.fixture(scope="module", autouse=True)
def _example_of_a_scenario():
    with installed("scenario_plugin"):
        yield
