"""Folders of the server that may be written to, and files that appear there whole.

Nothing is ever overwritten, and no symbolic link is followed below the folder.  Until it is whole a file has
no name, where the file system can do that: the kernel takes it back from a process that dies.
"""

import errno
import hashlib
import os
from typing import NamedTuple

from hypercube.errors import FileExists, InvalidArgument, NotAllowed, NotWritten, SourceMissing
from hypercube.sources import is_inside

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A file without a name stays open until it has one, and a session may have some hundred files open.
_UNNAMED = 64
_CANNOT_BE_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT)


class _Written(NamedTuple):
    """A file that has not its name yet: open without any, or closed under a temporary one."""

    descriptor: int | None
    temporary: str | None
    size: int = 0
    digest: str = ""


class Folder:
    """A folder inside an allowed one, made if it is missing; a context manager.

    Files are written without a name, or under temporary ones, and get their own ones in `commit`;
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
        """Write the bytes of an iterable, which get their name later; `name` may hold folders."""
        try:
            self._write(name, parts)
        except OSError as problem:
            raise NotWritten(os.path.join(self.path, name), problem) from None

    def _write(self, name, parts):
        self._require_free(name)
        folder, file_name = self._place(name)
        descriptor, temporary = self._create(folder, file_name)
        kept = descriptor if temporary is None else None
        self._written[name] = _Written(kept, temporary)
        digest, size = hashlib.sha256(), 0
        with os.fdopen(descriptor, "wb", closefd=kept is None) as file:
            for part in parts:
                file.write(part)
                digest.update(part)
                size += len(part)
            file.flush()
            os.fsync(file.fileno())
        self._written[name] = _Written(kept, temporary, size, digest.hexdigest())

    def _create(self, folder, file_name):
        """Return the descriptor of a new file in a folder, and its temporary name, None if it has none."""
        if sum(written.temporary is None for written in self._written.values()) < _UNNAMED:
            try:
                return os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=folder), None
            except OSError as problem:
                if problem.errno not in _CANNOT_BE_UNNAMED:
                    raise
        temporary = f"{file_name}.hypercube-{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(temporary, flags, 0o600, dir_fd=folder), temporary

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
            for name, written in sorted(self._written.items()):
                folder, file_name = self._place(name)
                # A hard link refuses where the name exists by now; a rename would overwrite.
                if written.temporary is None:
                    os.link(f"/proc/self/fd/{written.descriptor}", file_name, dst_dir_fd=folder)
                else:
                    os.link(
                        written.temporary,
                        file_name,
                        src_dir_fd=folder,
                        dst_dir_fd=folder,
                        follow_symlinks=False,
                    )
                named.append(name)
        except OSError as problem:
            for done in named:
                self._unlink(done)
            path = os.path.join(self.path, name)
            raise (
                FileExists(path) if isinstance(problem, FileExistsError) else NotWritten(path, problem)
            ) from None
        for name, written in self._written.items():
            self._let_go(name, written)
        for descriptor in (*self._opened.values(), self._descriptor):
            os.fsync(descriptor)
        rows = [
            (os.path.join(self.path, name), written.size, written.digest)
            for name, written in sorted(self._written.items())
        ]
        self._written, self._made = {}, []
        return rows

    def _let_go(self, name, written):
        """Take away what the file was before it had its name."""
        if written.temporary is None:
            os.close(written.descriptor)
        else:
            self._unlink(name, written.temporary)

    def _unlink(self, name, file_name=None):
        folder, last = self._place(name)
        os.unlink(file_name or last, dir_fd=folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name, written in self._written.items():
            try:
                self._let_go(name, written)
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
