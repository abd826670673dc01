"""What `experiments/gpu.py` runs, a module a stage."""
