"""What the stages share: parameters, paths, reading and writing, and errors in plain words.

params.py    what params.yaml may say.
paths.py     where every file lies.
files.py     reading and writing, each file checked.
errors.py    how a stage ends where its user made a mistake.
backend.py   whether a model is trained by NumPy or by its compiled form.
twins.py     notices when code was changed that has a second form.
runtime.py   settings of NumPy and Python that a stage works with.
served.py    a trained model as MLflow loads it.
"""
