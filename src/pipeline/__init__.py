"""The code that the stages share: parameters, paths, reading and writing, and errors.

params.py    reads and checks params.yaml.
paths.py     where every file lies.
declared.py  checks that dvc.yaml and the code have the same models.
files.py     reads and writes the files of the stages, and checks what is read.
errors.py    ends a stage with one message where its user made a mistake.
backend.py   chooses what trains a model: NumPy or its compiled form.
twins.py     notices a change of code that has a second form.
runtime.py   sets up NumPy and Python for a stage.
served.py    loads a trained model for MLflow.
"""
