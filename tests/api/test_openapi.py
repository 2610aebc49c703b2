"""Whatever the OpenAPI document allows is asked, and whatever it does not: what is answered must be what it says.

What is asked is schemathesis' idea, each operation in turn, as a user whose role may do it.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from asset_ledger.api.app import routed
from asset_ledger.api.service import Service
from tests.api.site import RING, Site

SCHEMA = schemathesis.openapi.from_dict(routed(Service("postgresql://nobody@127.0.0.1:1/none", RING)).openapi())
OPERATIONS = {one.label: one for one in (found.ok() for found in SCHEMA.get_all_operations())}
TAKES_SOMETHING = [label for label, one in OPERATIONS.items() if list(one.iter_parameters()) or list(one.body)]
# their bodies are documents of other tools: what one is, their own format says
DOCUMENTS = ("POST /terraform/plans/", "POST /api/stacks/")


@pytest.mark.parametrize(
    ("label", "mode"),
    [
        *(pytest.param(label, GenerationMode.POSITIVE, id=f"{label} as described") for label in OPERATIONS),
        *(pytest.param(label, GenerationMode.NEGATIVE, id=f"{label} otherwise") for label in TAKES_SOMETHING),
    ],
)
def test_nothing_that_is_asked_breaks_the_service_or_its_own_description(
    site: Site, label: str, mode: GenerationMode
) -> None:
    token, document = site.token(), label.startswith(DOCUMENTS)

    @settings(
        max_examples=10,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call(base_url=f"http://127.0.0.1:{site.port}", headers={"Authorization": f"Bearer {token}"})
        left_out = [positive_data_acceptance] if document else []
        wrong = {where for where, what in case.meta.components.items() if what.mode is GenerationMode.NEGATIVE}
        # a login that is left out is put in above, and then nothing is wrong; too large is a refusal, too
        if not wrong & {"query", "path", "body"} or answer.status_code == 413:
            left_out.append(negative_data_rejection)
        case.validate_response(answer, excluded_checks=left_out)

    ask()
