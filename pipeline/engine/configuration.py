"""The project's own luigi.cfg, wherever Luigi is started."""

from pathlib import Path

from luigi.configuration import get_config

import pipeline


def read_own(checkout: Path) -> None:
    """Read the luigi.cfg that travels with the package; one in the present folder wins over it.

    Its relative paths are relative to the checkout that it lies in, or, where the package was
    installed without one, to the present folder. checkout: the folder to look for it in.
    """
    config = get_config()
    config.read([str(Path(pipeline.__path__[0]) / "luigi.cfg")])
    type(config).reload()
    home = checkout if (checkout / "luigi.cfg").exists() else Path.cwd()
    for name in ("data", "store"):
        config.set("paths", name, str(home / Path(config.get("paths", name)).expanduser()))
