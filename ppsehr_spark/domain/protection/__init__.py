"""Protection: policies choose operators, operators rewrite spans, the rest of the text stays as it is.

Knows: the public names of this package. Must not know: tables, files on disk, engines.
"""

from ppsehr_spark.domain.acceleration import find_modules

__path__ = find_modules("protection", __path__)

from ppsehr_spark.domain.protection.policy import Operation, Policy, choose_operation, load_policies
from ppsehr_spark.domain.protection.protector import Protected, Protector, compile_protector

__all__ = [
    "Operation",
    "Policy",
    "Protected",
    "Protector",
    "choose_operation",
    "compile_protector",
    "load_policies",
]
