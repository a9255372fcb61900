"""Recognisers: ``compile_rules(files)`` makes the engine of all enabled categories; importing registers grammars."""

from ppsehr_spark.domain.acceleration import find_modules

__path__ = find_modules("rules", __path__)

from ppsehr_spark.domain.rules import addresses as _addresses
from ppsehr_spark.domain.rules import assertion as _assertion
from ppsehr_spark.domain.rules import institutions as _institutions
from ppsehr_spark.domain.rules import person_names as _person_names
from ppsehr_spark.domain.rules.engine import RuleEngine, compile_rules

__all__ = ["RuleEngine", "compile_rules"]
_GRAMMAR_MODULES = (_addresses, _assertion, _institutions, _person_names)
