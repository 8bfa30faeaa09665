"""Folders of the server that may be written to, and files that appear there whole.

Nothing is ever overwritten, and no symbolic link is followed below the folder.
"""

import hashlib
import os

from hypercube.errors import FileExists, InvalidArgument, NotAllowed, NotWritten, SourceMissing
from hypercube.sources import is_inside

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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
        self._opened = {}
        try:
            if not os.path.isdir(resolved):
                os.mkdir(resolved, 0o700)
                self._made.append(resolved)
            self._descriptor = os.open(resolved, _FOLDER)
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
        folder, file_name = self._place(name)
        temporary = f"{file_name}.hypercube-{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        digest, size = hashlib.sha256(), 0
        with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
            self._written[name] = (temporary, 0, "")
            for part in parts:
                file.write(part)
                digest.update(part)
                size += len(part)
            file.flush()
            os.fsync(file.fileno())
        self._written[name] = (temporary, size, digest.hexdigest())

    def _place(self, name):
        """Return the descriptor of the folder that a name is in, and the name inside it.

        Folders are opened one below the other and stay open, so that none can be exchanged for a link
        between a look and the use.
        """
        *steps, last = name.split("/")
        descriptor, path = self._descriptor, ""
        for step in steps:
            path = f"{path}/{step}" if path else step
            if path not in self._opened:
                self._opened[path] = self._open_below(descriptor, step, path)
            descriptor = self._opened[path]
        return descriptor, last

    def _open_below(self, parent, name, path):
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
            self._made.append(path)
        except FileExistsError:
            pass
        try:
            return os.open(name, _FOLDER, dir_fd=parent)
        except OSError:
            raise FileExists(os.path.join(self.path, path)) from None

    def _require_free(self, name):
        folder, file_name = self._place(name)
        try:
            os.stat(file_name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        raise FileExists(os.path.join(self.path, name))

    def commit(self):
        """Give every file its name, or none; return (path, bytes, sha256) rows."""
        named = []
        try:
            for name, (temporary, _, _) in sorted(self._written.items()):
                folder, file_name = self._place(name)
                # A hard link refuses where the name exists by now; a rename would overwrite.
                os.link(temporary, file_name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                named.append(name)
        except OSError as problem:
            for done in named:
                self._unlink(done)
            path = os.path.join(self.path, name)
            raise (
                FileExists(path) if isinstance(problem, FileExistsError) else NotWritten(path, problem)
            ) from None
        for name, (temporary, _, _) in self._written.items():
            self._unlink(name, temporary)
        for descriptor in (*self._opened.values(), self._descriptor):
            os.fsync(descriptor)
        rows = [
            (os.path.join(self.path, name), size, digest)
            for name, (_, size, digest) in sorted(self._written.items())
        ]
        self._written, self._made = {}, []
        return rows

    def _unlink(self, name, file_name=None):
        folder, last = self._place(name)
        os.unlink(file_name or last, dir_fd=folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name, (temporary, _, _) in self._written.items():
            try:
                self._unlink(name, temporary)
            except FileNotFoundError:
                pass
        for descriptor in self._opened.values():
            os.close(descriptor)
        for folder in reversed(self._made):
            try:
                os.rmdir(folder, dir_fd=self._descriptor)
            except OSError:
                pass
        os.close(self._descriptor)
