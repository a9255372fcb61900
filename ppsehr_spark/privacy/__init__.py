"""Differential privacy at patient level: units, events, accounting, calibration, the ledger and its noise.

Knows: what is promised, what may be spent, what happened and what it costs. Must not know: notes, tables, engines.
"""
