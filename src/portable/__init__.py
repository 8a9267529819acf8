"""The arithmetic of the models: the same bytes on every machine.

Read `matmul(a, b)` as `a @ b`, `sum_points(a)` as `a.sum(axis=0)`, `exp` and `log` as NumPy's. They
differ in one thing: every sum is taken in a fixed order, and every rounding is the one of IEEE 754.

arithmetic.py   the functions that the models call, in NumPy.
compiled.py     the training of the two-layer network compiled by Numba: same bytes, less time.
                `pipeline.backend` decides when it may be used.
compiler.py     sets up Numba with none of the user's settings; aligns arrays.
"""
