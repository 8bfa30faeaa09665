"""Servers with small disks, which only their own processes see: no mount is left when they stop."""

import os
import subprocess
import time
from pathlib import Path

from servers import ThrowawayServer, server_user

LARGE = 1 << 30
_ATTEMPTS = 10


class SmallDiskServer(ThrowawayServer):
    """A server some of whose folders are disks of their own, held in memory and of a size that can be set.

    `disks` are folders below the data directory, which keep what `initdb` put there, or beside it.  The
    mounts are in a namespace of their own, that of a process that does nothing but hold it.
    """

    def __init__(self, disks, **settings):
        if os.getuid() != 0:
            raise RuntimeError("small disks are mounted, which only root can do: run this test as root")
        self._disks = disks
        command = ["unshare", "--mount", "--propagation", "private", "sleep", "infinity"]
        self._holder = subprocess.Popen(command)
        self._wait_for_namespace()
        super().__init__(**settings)

    def _wait_for_namespace(self):
        until = time.monotonic() + 10
        own = os.readlink("/proc/self/ns/mnt")
        while os.readlink(f"/proc/{self._holder.pid}/ns/mnt") == own:
            assert time.monotonic() < until
            time.sleep(0.01)

    def _inside(self, *command):
        return ["nsenter", "--mount", "--root", f"--target={self._holder.pid}", "--", *map(str, command)]

    def _run(self, *command):
        return subprocess.run(self._inside(*command), check=True, capture_output=True, text=True).stdout

    def folder(self, disk):
        """Return the path of a disk as the server knows it."""
        return self.data_folder / disk

    def initialize_database(self):
        super().initialize_database()
        user = server_user()
        for place, disk in enumerate(self._disks):
            folder, first = self.folder(disk), Path(self.base_dir, f"disk-{place}")
            for path in (folder, first):
                path.mkdir(exist_ok=True)
                os.chown(path, user.pw_uid, user.pw_gid)
            options = f"size={LARGE},mode=700,uid={user.pw_uid},gid={user.pw_gid}"
            self._run("mount", "-t", "tmpfs", "-o", options, "tmpfs", first)
            self._run("cp", "--archive", f"{folder}/.", first)
            self._run("mount", "--bind", first, folder)

    def get_server_commandline(self):
        return self._inside(*super().get_server_commandline())

    def leave(self, disk, free):
        """Set the size of a disk so that so many bytes are free; all but few that the kernel rounds up."""
        for more in reversed(range(_ATTEMPTS)):
            told = self._run("stat", "--file-system", "--format=%S %b %a", self.folder(disk)).split()
            block, blocks, left = map(int, told)
            # No size would be no limit.
            size = max(block, (blocks - left) * block + free)
            try:
                self._run("mount", "-o", f"remount,size={size}", self.folder(disk))
                return
            except subprocess.CalledProcessError:
                # By now there may be more on it than that: the server goes on writing.
                if not more:
                    raise

    def used(self, disk):
        """Return how many bytes of a disk are used, also by files that have no name any more."""
        told = self._run("stat", "--file-system", "--format=%S %b %f", self.folder(disk)).split()
        block, blocks, free = map(int, told)
        return (blocks - free) * block

    def files(self, disk):
        """Return the paths of the files of a disk, from its root."""
        return sorted(self._run("find", self.folder(disk), "-type", "f", "-printf", "%P\n").split())

    def clear(self, disk):
        """Remove all that is on a disk."""
        self._run("find", self.folder(disk), "-mindepth", 1, "-delete")

    def stop(self, *args):
        super().stop(*args)
        if self._holder.poll() is None:
            self._holder.kill()
        self._holder.wait()
