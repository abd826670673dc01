"""Networks as they are run, not trained: `fuse` in floating point, `int8` quantised."""
