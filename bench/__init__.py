"""The figures: what is measured, against what, and the report."""
