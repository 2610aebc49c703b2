"""What the property tests of this folder share: how many random stories they tell, and what the platform `spoken` says.

ASSET_LEDGER_PROPERTY_EXAMPLES asks for more stories than the usual few, ASSET_LEDGER_PROPERTY_SHRINK for the smallest
one that fails.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from asset_ledger.domain.inventory import MACHINE

EXAMPLES = int(os.environ.get("ASSET_LEDGER_PROPERTY_EXAMPLES", "8"))
STORIES = settings(
    max_examples=EXAMPLES,
    derandomize=os.environ.get("ASSET_LEDGER_PROPERTY_EXAMPLES") is None,
    database=None,
    # a story takes a second; who looks into a failure asks for shrinking too
    phases=[Phase.generate, *([Phase.shrink] if "ASSET_LEDGER_PROPERTY_SHRINK" in os.environ else [])],
    report_multiple_bugs=False,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

FACTS = st.dictionaries(st.sampled_from(["uuid", "created"]), st.sampled_from(["1", "2", "3"]))
"""What tells machines apart that have one id one after the other: it comes and goes and drifts."""
_RECORD = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "a", "b"])},
    optional={"generation": FACTS, "cores": st.integers(1, 2), "mended": st.fixed_dictionaries({"generation": FACTS})},
)
# probed machines: their failures count too, and one may be reached by two addresses
_PROBED = st.fixed_dictionaries(
    {"id": st.sampled_from(["10.0.0.2", "10.0.0.3"]), "kind": st.just(MACHINE)},
    optional={"failed": st.just(True), "generation": FACTS, "ip": st.just("10.0.0.2")},
)
_FAILED = st.fixed_dictionaries({"id": st.sampled_from(["a", "b"]), "failed": st.just(True)})
SAID = st.lists(st.one_of(_RECORD, _RECORD, _RECORD, _PROBED, _FAILED), min_size=1, max_size=3)
HOURS = st.sampled_from(["08:00", "09:00", "10:00"])
