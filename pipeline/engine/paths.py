"""The folders of data and results: `[paths]` of luigi.cfg, and what is derived from them."""

from functools import cached_property
from pathlib import Path

import luigi

from pipeline.engine.digests import Digests, in_a_word
from pipeline.engine.files import leads_out


class paths(luigi.Config):
    """The two folders, and the digests kept in the store, opened when first needed."""

    data = luigi.Parameter(description="folder of the data sets")
    store = luigi.Parameter(description="folder for all results")

    @property
    def data_root(self) -> Path:
        """Absolute path of the folder of data sets."""
        return Path(self.data).expanduser().absolute()

    @property
    def store_root(self) -> Path:
        """Absolute path of the folder of results."""
        return Path(self.store).expanduser().absolute()

    @property
    def pyramids(self) -> Path:
        """The store's folder of rows: one folder per backbone, shared by all data sets."""
        return self.store_root / "pyramids"

    @cached_property
    def digests(self) -> Digests:
        """Digests of files, kept in the store."""
        return Digests(self.store_root / "digests.sqlite")

    def content(self, path: Path) -> str:
        """Return a digest of a file or folder that ignores its place and its times."""
        if not path.is_dir():
            return in_a_word(self.digests.of(path))
        if path.is_relative_to(self.data_root):  # pictures: refused links are left out
            return self.digests.of_folder(path, lambda link: leads_out(link, self.data_root))
        return self.digests.of_folder(path)
