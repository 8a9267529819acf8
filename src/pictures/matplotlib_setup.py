"""Keep the user's Matplotlib settings out of the pictures.

The pictures are the same bytes everywhere, but Matplotlib obeys the user's files, variables and
fonts, some of them while it is imported. So `main` of a script that draws calls
`isolate_matplotlib` before anything imports Matplotlib; `pictures.figures` is imported after that,
where it is needed.
"""

import os
import sys
from contextlib import chdir
from pathlib import Path


def isolate_matplotlib() -> None:
    """Import Matplotlib without the user's settings and fonts.

    Raises:
        RuntimeError: Matplotlib was imported before; it has read the settings already.
    """
    if "matplotlib" in sys.modules:
        raise RuntimeError("isolate_matplotlib must be called before Matplotlib is imported")
    # A backend that is not installed ends the import; the pictures need none.
    os.environ.pop("MPLBACKEND", None)
    # FreeType draws the letters in another shape, by the version of its interpreter.
    os.environ.pop("FREETYPE_PROPERTIES", None)
    # Of all files named matplotlibrc, only the one in the current folder is read. A user's own
    # would end the import if it is not text, or print warnings. (Its settings for figures would not
    # count: `pictures.figures.STYLE` sets all of them for every figure.)
    with chdir(Path(__file__).parent):
        import matplotlib
        from matplotlib import font_manager
    # The list of fonts is the user's: other files may be called DejaVu Sans there, or none may be.
    own_fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
    font_manager.fontManager.ttflist = []
    for path in sorted(own_fonts.glob("*.ttf")):
        font_manager.fontManager.addfont(path)
