"""Schemathesis: whatever the document allows, and what it does not, no request ends in a 5xx or in an undocumented answer."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
OPERATIONS = (
    *("POST /predict", "POST /predictions", "GET /predictions", "GET /predictions/{prediction_id}", "GET /history"),
    *("GET /features", "GET /supported_coins", "GET /model", "GET /health", "GET /ready", "GET /metrics"),
)
EXAMPLES = 30
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def operations(url):
    document = schemathesis.openapi.from_url(f"{url}/openapi.json", config=SchemathesisConfig())
    return {operation.ok().label: operation.ok() for operation in document.get_all_operations()}


def test_these_are_all(operations):
    assert set(operations) == set(OPERATIONS)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_request_fails(operations, name, mode):
    operation = operations[name]
    takes = operation.body or operation.query or operation.path_parameters
    if mode is GenerationMode.NEGATIVE and not takes:
        assert operation.label.startswith("GET"), "nothing can be wrong with a request that says nothing"
        return

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def ask(case) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()
