"""Networks timed in turns: what is timed (`subjects`), and how (`turns`)."""
