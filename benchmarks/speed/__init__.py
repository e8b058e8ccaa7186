"""What the training benchmarks share: shapes, cases, the two sides, the clock and the table."""
