"""A server of a folder of its own: other extensions than the system's, with nothing of the system touched.

PostgreSQL finds its folders from where its program is.  A copy of the program below a folder, with links to
all the rest, is a whole server, whose extensions are those that are put there.
"""

import os
import shutil
import subprocess
from pathlib import Path

from servers import ThrowawayServer, program_folder


def told(name):
    """Return what pg_config says of one thing."""
    command = [program_folder() / "pg_config", f"--{name}"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def below(folder, path):
    """Return where a path of the system lies below a folder."""
    return Path(f"{folder}{path}")


class Prefix:
    """The programs of the system's server below `folder`, with extensions of its own.

    What `make install DESTDIR=folder` put there is taken; the rest is linked.  `package` is the folder
    that sessions import hypercube from; it can be changed while the server runs, for those that begin.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.programs = below(folder, told("bindir"))
        self.extensions = below(folder, told("sharedir")) / "extension"
        self.packages = self.folder / "python"
        self.programs.mkdir(parents=True)
        for program in ("postgres", "initdb"):
            shutil.copy(program_folder() / program, self.programs / program)
        libraries = below(folder, told("pkglibdir"))
        libraries.parent.mkdir(parents=True, exist_ok=True)
        libraries.symlink_to(told("pkglibdir"))
        self.extensions.mkdir(parents=True, exist_ok=True)
        for one in Path(told("sharedir")).iterdir():
            if one.name != "extension":
                (self.extensions.parent / one.name).symlink_to(one)
        for one in (Path(told("sharedir")) / "extension").iterdir():
            if not one.name.startswith("hypercube"):
                (self.extensions / one.name).symlink_to(one)
        self._readable()

    def add_script(self, name, content):
        """Put a file where the server looks for extensions."""
        path = self.extensions / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o644)

    def use_package(self, folder):
        """Let sessions that begin from now on import what is in a folder; those of before keep theirs."""
        self.packages.mkdir(exist_ok=True)
        new = self.packages / "new"
        new.write_text(f"import sys\n\nsys.path.insert(0, {str(folder)!r})\n", encoding="utf-8")
        new.chmod(0o644)
        new.replace(self.packages / "sitecustomize.py")

    def server(self, **settings):
        """Start a server of these programs."""
        return ThrowawayServer(
            initdb=self.programs / "initdb",
            postgres=self.programs / "postgres",
            environment={"PYTHONPATH": str(self.packages)},
            **settings,
        )

    def _readable(self):
        for folder, _, _ in os.walk(self.folder):
            if not Path(folder).is_symlink():
                os.chmod(folder, 0o755)
