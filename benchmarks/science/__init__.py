"""Science benchmarks: accuracy, coverage and sharpness on fixed data with fixed seeds."""
