"""What runs on a device: it answers about the machine, keeps files, and starts processes.

It travels as text to the device's own Python, so it has nothing but the standard library and the syntax of 3.6: one
that is too old must be able to say so.
"""

import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from typing import Any, Dict, List, Optional, Tuple

BLOCK = 1 << 20
KEPT_DAYS = 30
# The names that this gives. Whatever else lies there is somebody else's, and stays.
KEPT, JOB = re.compile(r"[0-9a-f]{64}(\.part)?"), "edgepress-"
Given = Dict[str, Any]


def main(given: Given) -> None:
    """Do what was sent: `serve` or `run`."""
    {"serve": serve, "run": run}[given["mode"]](given)


def serve(given: Given) -> None:
    """Read one JSON value a line, each with the bytes that it counts behind it, and answer in the same form."""
    device = Device(os.path.expanduser(given["directory"]))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        while True:
            line = source.readline()
            if not line:
                return
            request = json.loads(line.decode())
            data = source.read(request.pop("bytes", 0))
            answer, back = answered(device, request, data)
            answer["bytes"] = len(back)
            sink.write(json.dumps(answer).encode() + b"\n" + back)
            sink.flush()
    finally:
        device.close()


def answered(device: "Device", request: Given, data: bytes) -> Tuple[Given, bytes]:
    """What a method of `Device` returns: a value, or one and bytes."""
    try:
        done = getattr(device, request.pop("do"))(data=data, **request)
    except OSError as error:
        told = {"error": error.strerror or str(error), "number": error.errno, "file": error.filename}
        return dict(told, hint=getattr(error, "hint", "")), b""
    return ({"answer": done[0]}, done[1]) if isinstance(done, tuple) else ({"answer": done}, b"")


class SharedError(OSError):
    """A directory whose files others could change, and what is kept in it is run."""

    def __init__(self, path: str, why: str, hint: str) -> None:
        super().__init__(errno.EPERM, why, path)
        self.hint = hint


def need_own(path: str) -> None:
    """Refuse a directory that another user may write to or replace: it, and all that it lies in."""
    path = os.path.realpath(path)
    if os.path.isdir(path):
        found = os.stat(path)
        if found.st_uid not in (os.getuid(), 0):
            owner = "it belongs to another user, {}".format(found.st_uid)
            raise SharedError(path, owner, "Give a directory of your own: ?directory=PATH behind the address.")
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            hint = "Give a directory of your own, ?directory=PATH behind the address, or run there: chmod o-w " + path
            raise SharedError(path, "all users there may write to it", hint)
    parent = os.path.dirname(path)
    if parent != path:
        need_own(parent)


class Device:
    """Files under one directory: `files` by hash, `packages` unpacked, `jobs` of the caller that holds the lock."""

    def __init__(self, root: str) -> None:
        self.root, self.job, self.locked = root, "", False
        self.waiting = None  # type: Optional[threading.Thread]
        self.unlockable = None  # type: Optional[OSError]

    def about(self, data: bytes) -> Given:
        """The machine, before anything is written to it."""
        return {
            "arch": platform.machine(),
            "system": platform.system(),
            "python": list(sys.version_info[:3]),
            "implementation": sys.implementation.name,
            "libc": list(platform.libc_ver()),
            "free": self.free(),
            "memory": memory(),
            "jetpack": jetpack(),
            "power_mode": power_mode(),
            "packages": packages(),
            "markers": markers(),
        }

    def free(self, data: bytes = b"") -> int:
        """Bytes that may be written."""
        directory = self.root
        while not os.path.isdir(directory):
            directory = os.path.dirname(directory) or "/"
        found = os.statvfs(directory)
        return found.f_bavail * found.f_frsize

    def lock(self, data: bytes) -> bool:
        """Whether this caller has the device to itself by now; the kernel keeps the queue."""
        if self.waiting is None:
            need_own(self.root)
            self.waiting = threading.Thread(target=self._lock)
            self.waiting.daemon = True
            self.waiting.start()
        self.waiting.join(1.0)
        if self.unlockable is not None:
            raise self.unlockable
        if self.locked and not self.job:
            self._begin()
        return self.locked

    def _lock(self) -> None:
        # One lock for all users of the machine. Who only reads a file can lock it, too.
        path = os.path.join(tempfile.gettempdir(), "edgepress-device.lock")
        try:
            try:
                opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            except FileNotFoundError:
                opened = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            fcntl.flock(opened, fcntl.LOCK_EX)
            self.locked = True
        except OSError as error:
            self.unlockable = error

    def _begin(self) -> None:
        """Remove what dead callers left and nobody used for long, and make a directory for this one."""
        for name in ("files", "packages", "jobs"):
            room = os.path.join(self.root, name)
            os.makedirs(room, mode=0o700, exist_ok=True)
            if os.path.islink(room) or os.stat(room).st_uid != os.getuid():  # where all may write, with a sticky bit
                hint = "Give a directory of your own: ?directory=PATH behind the address."
                raise SharedError(room, "it was there already, and is another user's", hint)
            need_own(room)
        jobs = os.path.join(self.root, "jobs")
        for name in os.listdir(jobs):
            if name.startswith(JOB):
                shutil.rmtree(os.path.join(jobs, name), ignore_errors=True)
        old = time.time() - KEPT_DAYS * 86400
        for kind in ("files", "packages"):
            for name in os.listdir(os.path.join(self.root, kind)):
                path = os.path.join(self.root, kind, name)
                if KEPT.fullmatch(name) and os.stat(path).st_mtime < old:
                    shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)
        self.job = tempfile.mkdtemp(prefix=JOB, dir=jobs)

    def directory(self, data: bytes) -> str:
        """Of this caller."""
        return self.job

    def have(self, files: List[Tuple[str, int]], data: bytes) -> List[int]:
        """How many bytes of each file are there, by hash."""
        return [self._have(digest, size) for digest, size in files]

    def _have(self, digest: str, size: int) -> int:
        whole = self._stored(digest)
        if os.path.exists(whole) and os.path.getsize(whole) != size:  # the power failed behind its renaming
            os.unlink(whole)
        if os.path.exists(whole):
            os.utime(whole)
            return size
        return min(os.path.getsize(whole + ".part"), size) if os.path.exists(whole + ".part") else 0

    def put(self, digest: str, offset: int, last: bool, data: bytes) -> bool:
        """More of a file; after the last of it, whether it is the file of this hash."""
        whole = self._stored(digest)
        try:
            write_at(whole + ".part", offset, data)
        except OSError as error:
            if error.errno in (
                errno.ENOSPC,
                errno.EDQUOT,
                errno.EFBIG,
            ):  # it is of no use to others
                os.unlink(whole + ".part")
            raise
        if not last:
            return True
        if hash_of(whole + ".part") != digest:
            os.unlink(whole + ".part")
            return False
        with open(whole + ".part", "rb") as file:
            os.fsync(file.fileno())
        os.rename(whole + ".part", whole)
        return True

    def lay(self, path: str, digest: str, data: bytes) -> None:
        """Let a file of the store lie in the directory of this caller as well."""
        target = self._inside(path)
        if os.path.lexists(target):
            os.unlink(target)
        os.link(self._stored(digest), target)

    def write(self, path: str, offset: int, data: bytes) -> None:
        """More of a file of this caller alone, from its beginning where the offset is 0."""
        target = self._inside(path)
        if offset == 0 and os.path.lexists(target):
            os.unlink(target)
        write_at(target, offset, data)

    def ready(self, path: str, data: bytes) -> None:
        """Make the directory that a file is to be written into."""
        self._inside(path)

    def files(self, path: str, data: bytes) -> List[Tuple[str, int, str]]:
        """[name, size, hash] of a file, with an empty name, or of all in a directory."""
        top = os.path.join(self.job, path)
        if os.path.isfile(top):
            return [("", os.path.getsize(top), hash_of(top))]
        found = []
        for directory, _, names in os.walk(top):
            for name in names:
                file = os.path.join(directory, name)
                found.append((os.path.relpath(file, top), os.path.getsize(file), hash_of(file)))
        return found

    def read(self, path: str, offset: int, size: int, data: bytes) -> Tuple[None, bytes]:
        """Bytes of a file."""
        with open(os.path.join(self.job, path), "rb") as file:
            file.seek(offset)
            return None, file.read(size)

    def unpacked(self, digests: List[str], data: bytes) -> List[Optional[str]]:
        """Where each of these wheels is unpacked; None where it is not."""
        found = []
        for digest in digests:
            path = os.path.join(self.root, "packages", digest)
            there = os.path.isdir(path)
            if there:
                os.utime(path)
            found.append(path if there else None)
        return found

    def unpack(self, digest: str, data: bytes) -> str:
        """Unpack a wheel of the store, which then goes."""
        path = os.path.join(self.root, "packages", digest)
        work = tempfile.mkdtemp(prefix=JOB, dir=os.path.join(self.root, "jobs"))
        with zipfile.ZipFile(self._stored(digest)) as wheel:
            for name in wheel.namelist():
                inside = library_path(name)
                if inside and not name.endswith("/"):
                    target = os.path.join(work, inside)
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    with wheel.open(name) as source, open(target, "wb") as sink:
                        shutil.copyfileobj(source, sink)
        os.rename(work, path)
        os.unlink(self._stored(digest))
        return path

    def _stored(self, digest: str) -> str:
        return os.path.join(self.root, "files", digest)

    def _inside(self, path: str) -> str:
        target = os.path.join(self.job, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        return target

    def close(self) -> None:
        """Leave what may be of use to the next one."""
        if self.job:
            shutil.rmtree(self.job, ignore_errors=True)


def write_at(path: str, offset: int, data: bytes) -> None:
    """Go on with a file from there; what was behind is gone."""
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(data)


def hash_of(path: str) -> str:
    """The SHA-256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            found.update(block)
    return found.hexdigest()


def library_path(name: str) -> str:
    """Where a file of a wheel goes, by the wheel format: `X.data/purelib` and `platlib` are the library as well."""
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return name
    kind, _, inside = rest.partition("/")
    return inside if kind in ("purelib", "platlib") else ""


def memory() -> Optional[int]:
    """Bytes that can be had without swapping; None where the system does not tell."""
    for line in text_of("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def jetpack() -> str:
    """The release of Linux for Tegra, as NVIDIA writes it; empty on other machines."""
    first = text_of("/etc/nv_tegra_release").splitlines()[:1]
    return first[0].strip("# ") if first else ""


def power_mode() -> str:
    """Of a Jetson; empty where there is none."""
    try:
        done = subprocess.run(
            ["nvpmodel", "-q"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return " ".join(done.stdout.decode(errors="replace").split())


def packages() -> Dict[str, Tuple[str, List[str]]]:
    """[version, requirements] of each package of this Python, by its name as it is written."""
    try:
        from importlib import metadata
    except ImportError:
        return older_packages()
    found = {}
    for one in metadata.distributions():
        name = one.metadata["Name"]
        if name and name not in found:
            found[name] = (one.version, list(one.requires or ()))
    return found


def older_packages() -> Dict[str, Tuple[str, List[str]]]:
    """The same without what Python 3.8 brought, as far as versions go."""
    found = {}  # type: Dict[str, Tuple[str, List[str]]]
    for directory in sys.path:
        try:
            names = sorted(os.listdir(directory or "."))
        except OSError:
            continue
        for name in names:
            whole = os.path.join(directory, name)
            files = [os.path.join(whole, "METADATA"), os.path.join(whole, "PKG-INFO"), whole]
            if name.endswith((".dist-info", ".egg-info")):
                text = next(filter(None, map(text_of, files)), "")
                head = text.partition("\n\n")[0]  # behind it stands a description, which may look like anything
                said = dict(re.findall(r"^(Name|Version): *(.+?) *$", head, re.MULTILINE))
                if len(said) == 2:
                    found.setdefault(said["Name"], (said["Version"], []))
    return found


def markers() -> Dict[str, str]:
    """The environment that a requirement may depend on, by PEP 508."""
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def text_of(path: str) -> str:
    """What a file of the system says; empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def run(given: Given) -> None:
    """Start a process; its number and the time go ahead of what it writes."""

    def begun() -> None:
        said = {"pid": os.getpid(), "spawned": int(time.monotonic() * 1e9)}
        os.write(1, json.dumps(said).encode() + b"\n")

    environment = dict(os.environ)
    environment.update(given["environment"])
    own = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join(given["path"] + ([own] if own else []))
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            given["command"],
            stdin=subprocess.PIPE,
            stderr=errors,
            env=environment,
            preexec_fn=begun,
            start_new_session=True,
        )
        feeding = threading.Thread(target=feed, args=(child,))
        feeding.daemon = True
        feeding.start()
        code = child.wait()
        errors.seek(max(0, os.fstat(errors.fileno()).st_size - 4096))
        os.write(2, errors.read())
    os._exit(code if code >= 0 else 128 - code)


def feed(child: "subprocess.Popen[bytes]") -> None:
    """Hand on what the caller writes; where there is no caller any more, the process ends whatever it is at."""
    assert child.stdin is not None
    try:
        for block in iter(lambda: os.read(0, BLOCK), b""):
            child.stdin.write(block)
            child.stdin.flush()
    except (OSError, ValueError):
        pass  # it ended by itself
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        pass
