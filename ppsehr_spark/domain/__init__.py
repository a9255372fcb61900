"""Pure knowledge of Chinese clinical notes: spans, categories, rules, tiers, protection. Imports no engine."""

from ppsehr_spark.domain.acceleration import find_modules

__path__ = find_modules("", __path__)
