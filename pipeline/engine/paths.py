"""Where data is read and results are kept: `[paths]` of luigi.cfg, and what belongs to it."""

from functools import cached_property
from pathlib import Path

import luigi

from pipeline.engine.digests import Digests, in_a_word
from pipeline.engine.files import leads_out


class paths(luigi.Config):
    """The two folders, and the store's memory of digests, opened when it is first needed."""

    data = luigi.Parameter(description="folder of the data sets")
    store = luigi.Parameter(description="folder for everything that is computed")

    @property
    def data_root(self) -> Path:
        """Absolute path of the folder of data sets."""
        return Path(self.data).expanduser().absolute()

    @property
    def store_root(self) -> Path:
        """Absolute path of the folder for results."""
        return Path(self.store).expanduser().absolute()

    @property
    def pyramids(self) -> Path:
        """The store's folder of rows: one folder a backbone, shared by all data sets."""
        return self.store_root / "pyramids"

    @cached_property
    def digests(self) -> Digests:
        """Digests of files, remembered in the store."""
        return Digests(self.store_root / "digests.sqlite")

    def content(self, path: Path) -> str:
        """Digest of a file or folder: where it lies and when it was written do not count."""
        if not path.is_dir():
            return in_a_word(self.digests.of(path))
        if path.is_relative_to(self.data_root):  # pictures: a link that is refused counts as absent
            return self.digests.of_folder(path, lambda link: leads_out(link, self.data_root))
        return self.digests.of_folder(path)
