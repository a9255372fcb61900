"""Pure knowledge of Chinese clinical notes: spans, categories, rules, tiers, protection. Imports no engine."""
