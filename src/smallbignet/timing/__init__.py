"""Networks timed in turns: what can be timed (`cases.py`), how each variant runs (`variants.py`), and the turns (`turns.py`).

The machine's floor is in `floors.py`. What makes networks fast is in `ops/` and `inference/`.
"""
