"""How fast things run: rate curves, slowdown in company, memory, SLO models, error bounds.

Each model has two faces, written separately: one over arrays, which the compiler uses, and one over
plain numbers, which the judge uses. The tests hold the two against each other.
"""
