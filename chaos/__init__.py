"""Drills: every part is broken on purpose while users flow, and a verdict counts, by sets, what it did to them."""
