"""Find what MLflow would refuse, before a run is created, so that no run is left half-written.

Only what is to be published is checked: NumPy and Pillow take a while to import.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from bridge.errors import UserError
from bridge.names import valid_name
from bridge.results import Result, is_in_project
from bridge.settings import FILE, ModelSettings, TensorType

IMAGE_NAME = re.compile(r"[\w\-. /]+")  # what MLflow takes as the name of an image
NAME_CHARACTERS = 250  # of a metric, at most
CHARACTERS = "letters, digits, spaces and _ - . : /"  # in a name of MLflow's
ANY_SIZE = -1  # in a shape


def check_result(result: Result) -> None:
    """Check the files of a result, and all that mlflow.yaml says of it.

    Raises:
        UserError: with the key or the file, what was given, and what is allowed.
    """
    result.check_files()
    settings = result.settings
    _check_param_names(settings.params)
    _check_images(result)
    numbers = result.load_numbers()
    metrics = numbers.metrics
    _check_lengths([*metrics, *numbers.curves])
    if settings.champion and settings.champion.metric not in metrics:
        known = ", ".join(metrics) or "none"
        _refuse(f"champion.metric is {settings.champion.metric}, but the metrics are {known}")
    if settings.model:
        _check_model(result.root, settings.model)


def _refuse(reason: str) -> None:
    raise UserError(f"{FILE}: {reason}")


def _check_param_names(params: dict[str, Any]) -> None:
    for name in params:
        if valid_name(name) != name:
            _refuse(f"params: MLflow does not accept the name {name!r}; it allows {CHARACTERS}")


def check_tags(tags: dict[str, str]) -> None:
    """Check the tags that a run is created with: MLflow itself does not, and cannot change them.

    Raises:
        UserError: a name is none that MLflow takes, or a value is no text.
    """
    for name, value in tags.items():
        if not name or valid_name(name) != name:
            raise UserError(f"a run cannot have the tag {name!r}: MLflow allows {CHARACTERS}")
        if not isinstance(value, str):
            raise UserError(f"the tag {name} of a run is {value!r}, but must be a text")


def _check_lengths(names: list[str]) -> None:
    for name in names:
        if len(name) > NAME_CHARACTERS:
            long = f"{name[:40]}... has {len(name)} characters, and MLflow takes {NAME_CHARACTERS}"
            _refuse(f"names: {long}: give its beginning a shorter name")


def _check_images(result: Result) -> None:
    """Check that the images have names that MLflow takes, and can be read."""
    for name, path in result.settings.images.items():
        if not IMAGE_NAME.fullmatch(name):
            characters = "letters, digits, spaces and _ - . /"
            _refuse(f"images: MLflow takes no image {name!r}, but names of {characters}")
        if not is_in_project(path):
            _refuse(f"images: {path} is not in the project")
    for image in result.images():
        reason = _image_fault(image.path)
        if reason:
            file = image.path.relative_to(result.root).as_posix()
            _refuse(f"images: {file} is no picture that Pillow can read: {reason}")


def _image_fault(path: Path) -> str:
    """Return why a picture cannot be read; "" if it can."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.format == "PNG":
                image.verify()  # by its checksums, which takes less than to decode it
            else:
                image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return str(error).replace(str(path), path.name)
    return ""


def _check_model(root: Path, model: ModelSettings) -> None:
    if not is_in_project(model.file):
        _refuse(f"model.file: {model.file} is not in the project")
    _check_code(root, model)
    for key, tensor in ("inputs", model.inputs), ("outputs", model.outputs):
        if tensor:
            _check_type(f"model.{key}", tensor)
    if (model.inputs is None) != (model.outputs is None):
        _refuse("model.inputs and model.outputs need one another: say both or none")
    if model.example is not None:
        _check_example(model)


def _check_code(root: Path, model: ModelSettings) -> None:
    """Check that the folders of code are there, and that the loader is in one, if in any."""
    folders: dict[str, str] = {}
    for path in model.code:
        if not (root / path).is_dir():
            _refuse(f"model.code: {path} is not a folder")
        name = PurePosixPath(path).name
        if name in folders:
            _refuse(f"model.code: {folders[name]} and {path} have the same name")
        folders[name] = path
    package, *modules = model.loader.split(".")
    if package not in folders:
        return  # it is installed where the model is loaded
    file = root.joinpath(folders[package], *modules)
    if not file.with_suffix(".py").exists() and not (file / "__init__.py").exists():
        _refuse(f"model.loader: {model.loader} is no module in the folder {folders[package]}")


def _check_type(key: str, tensor: TensorType) -> None:
    import numpy as np

    try:
        np.dtype(tensor.kind)
    except TypeError:
        _refuse(f"{key}: NumPy knows no type {tensor.kind!r}; one is float64")
    for size in tensor.shape:
        if size < 1 and size != ANY_SIZE:
            _refuse(f"{key}: the shape {tensor.shape} must be sizes above 0, or -1 for any")


def _check_example(model: ModelSettings) -> None:
    """Check that the example is an array, of the shape that the model takes."""
    import numpy as np

    kind = model.inputs.kind if model.inputs else None
    try:
        shape = np.array(model.example, dtype=kind).shape
    except (TypeError, ValueError, OverflowError) as error:
        _refuse(f"model.example is no array of numbers: {error}")
        return
    if model.inputs and not _fits(shape, model.inputs.shape):
        _refuse(f"model.example has the shape {list(shape)}, but inputs say {model.inputs.shape}")


def _fits(shape: tuple[int, ...], allowed: list[int]) -> bool:
    if len(shape) != len(allowed):
        return False
    pairs = zip(shape, allowed, strict=True)
    return all(wanted in (size, ANY_SIZE) for size, wanted in pairs)
