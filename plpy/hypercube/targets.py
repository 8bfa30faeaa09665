"""Folders of the server that may be written to, and files that appear there whole.

Nothing is ever overwritten, and no symbolic link is followed below the folder.
"""

import hashlib
import os
import stat

from hypercube.errors import FileExists, InvalidArgument, NotAllowed, NotWritten, SourceMissing
from hypercube.sources import is_inside


class Folder:
    """A folder inside an allowed one, made if it is missing; a context manager.

    Files are written under temporary names and get their own ones in `commit`;
    whatever was written is removed when the block is left before.
    """

    def __init__(self, path, allowed):
        if path is None or "\0" in path or not os.path.isabs(path):
            raise InvalidArgument(
                "the folder must be an absolute path on the server", hint="For example /srv/export/minilm."
            )
        resolved = os.path.realpath(path)
        if not is_inside(resolved, allowed):
            raise NotAllowed(
                f'path "{path}" is not inside a folder that models may be written to',
                hint="A superuser or a member of pg_write_server_files can allow it: "
                "SELECT hypercube.allow_target('/folder').",
            )
        self.path = resolved
        self._written = {}
        self._made = []
        try:
            if not os.path.isdir(resolved):
                os.mkdir(resolved, 0o700)
                self._made.append(resolved)
            self._descriptor = os.open(resolved, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as problem:
            raise SourceMissing(
                f'folder "{path}" cannot be made or opened by the server ({problem.strerror})',
                hint="Its parent has to be there, writable by the operating system user of the server.",
            ) from None
        # The name may have been exchanged in between; what is open cannot be.
        real = os.readlink(f"/proc/self/fd/{self._descriptor}")
        if not is_inside(real, allowed):
            os.close(self._descriptor)
            raise NotAllowed(f'path "{path}" changed while it was opened')

    def write(self, name, parts):
        """Write the bytes of an iterable under a temporary name; `name` may hold folders."""
        try:
            self._write(name, parts)
        except OSError as problem:
            raise NotWritten(os.path.join(self.path, name), problem) from None

    def _write(self, name, parts):
        self._require_free(name)
        steps = name.split("/")[:-1]
        for depth in range(len(steps)):
            folder = "/".join(steps[: depth + 1])
            try:
                os.mkdir(folder, 0o700, dir_fd=self._descriptor)
                self._made.append(folder)
            except FileExistsError:
                self._require_folder(folder)
        temporary = f"{name}.hypercube-{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        digest, size = hashlib.sha256(), 0
        with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=self._descriptor), "wb") as file:
            self._written[name] = (temporary, 0, "")
            for part in parts:
                file.write(part)
                digest.update(part)
                size += len(part)
            file.flush()
            os.fsync(file.fileno())
        self._written[name] = (temporary, size, digest.hexdigest())

    def _require_folder(self, name):
        if not stat.S_ISDIR(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_mode):
            raise FileExists(os.path.join(self.path, name))

    def _require_free(self, name):
        try:
            os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return
        raise FileExists(os.path.join(self.path, name))

    def commit(self):
        """Give every file its name, or none; return (path, bytes, sha256) rows."""
        named = []
        try:
            for name, (temporary, _, _) in sorted(self._written.items()):
                # A hard link refuses where the name exists by now; a rename would overwrite.
                os.link(
                    temporary,
                    name,
                    src_dir_fd=self._descriptor,
                    dst_dir_fd=self._descriptor,
                    follow_symlinks=False,
                )
                named.append(name)
        except OSError as problem:
            for done in named:
                os.unlink(done, dir_fd=self._descriptor)
            path = os.path.join(self.path, name)
            raise (
                FileExists(path) if isinstance(problem, FileExistsError) else NotWritten(path, problem)
            ) from None
        for temporary, _, _ in self._written.values():
            os.unlink(temporary, dir_fd=self._descriptor)
        os.fsync(self._descriptor)
        rows = [
            (os.path.join(self.path, name), size, digest)
            for name, (_, size, digest) in sorted(self._written.items())
        ]
        self._written, self._made = {}, []
        return rows

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for temporary, _, _ in self._written.values():
            try:
                os.unlink(temporary, dir_fd=self._descriptor)
            except FileNotFoundError:
                pass
        for folder in reversed(self._made):
            try:
                os.rmdir(folder, dir_fd=self._descriptor)
            except OSError:
                pass
        os.close(self._descriptor)
