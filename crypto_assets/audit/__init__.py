"""The leak firewall: change what lies after a moment, recompute, and whatever changed at or before that moment is a leak.

Here belongs the proof that tables, features, labels, scalers and weights are point in time, on any reader. Nothing that makes
data: the rows are handed in.
"""

from crypto_assets.audit.auditable import Auditable
from crypto_assets.audit.findings import Leak, Outcome, Warmup
from crypto_assets.audit.firewall import audit
from crypto_assets.audit.sample import Sample

__all__ = ["Auditable", "Leak", "Outcome", "Sample", "Warmup", "audit"]
