"""Sees to the system libraries that Python wheels expect and do not carry: `make system-libs`.

Run with the interpreter of the environment that will use them; needs nothing beyond the standard library.
Each library is looked for with the loader itself. What is missing is installed where that is possible without
asking (root or password-less sudo, apt-get); else the exact line to run is printed. At the end the packages are
really imported: a library that is in no table is then named by the loader's own message.

Exit code: 0 all there, 1 something is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

# What `readelf -d` shows as NEEDED in the libraries of open3d, and for the rest what slim images were seen to lack:
# file name for the loader -> Debian and Ubuntu package.
NEEDED = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libudev.so.1": "libudev1",
    "libidn2.so.0": "libidn2-0",
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libz.so.1": "zlib1g",
}
# Asked for by builds for other machines; installed only where an import names one.
SOMETIMES = {
    "libgomp.so.1": "libgomp1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libxcb.so.1": "libxcb1",
    "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6",
    "libGLX.so.0": "libglx0",
    "libatomic.so.1": "libatomic1",
}
MODULES = ("cv2", "open3d", "av")  # decord brings all it needs
LOADER_MESSAGE = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")


def is_there(library: str) -> bool:
    """Asked of a fresh process: the loader keeps what it has once failed to find."""
    code = f"import ctypes; ctypes.CDLL({library!r})"
    return subprocess.run([sys.executable, "-S", "-c", code], capture_output=True).returncode == 0


def import_error(module: str) -> str:
    """The last line of what importing it says; empty where it imports."""
    done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]


def install(packages: list[str]) -> bool:
    """With apt-get, where that needs no password. False where it could not be done; the line to run is printed."""
    by_hand = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(packages)}"
    if not shutil.which("apt-get"):
        print(f"system-libs: no apt-get here; install what corresponds to: {' '.join(packages)}", file=sys.stderr)
        return False
    prefix: list[str] = []
    if os.geteuid() != 0:
        passwordless = shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True)
        if not passwordless or passwordless.returncode != 0:
            print(f"system-libs: not root, and sudo asks for a password; run this line, then make again:\n"
                  f"  sudo sh -c '{by_hand}'", file=sys.stderr)
            return False
        prefix = ["sudo", "-n"]
    print(f"system-libs: installing {' '.join(packages)}", flush=True)
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    install_command = [*apt, "install", "-y", "--no-install-recommends", *packages]
    for command in ([*apt, "update"], install_command):
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        said = re.sub(r"\w+://\S+", "(address)", done.stderr.strip())[-600:]
        print(f"system-libs: apt-get could not install them:\n{said}\nrun by hand:\n  {by_hand}", file=sys.stderr)
        return False
    return True


def main() -> int:
    if sys.platform != "linux":
        return _verify()
    missing = [library for library in NEEDED if not is_there(library)]
    if missing:
        print(f"system-libs: missing {', '.join(missing)}", flush=True)
        if not install([NEEDED[library] for library in missing]):
            return 1
        still = [library for library in missing if not is_there(library)]
        if still:
            print(f"system-libs: installed, but the loader still finds no {', '.join(still)}", file=sys.stderr)
            return 1
    return _verify()


def _verify() -> int:
    for module in MODULES:
        tried: set[str] = set()
        while error := import_error(module):
            named = LOADER_MESSAGE.search(error)
            library = named.group(1) if named else ""
            package = {**NEEDED, **SOMETIMES}.get(library)
            if not package or library in tried or sys.platform != "linux":
                print(f"system-libs: `import {module}` fails: {error}", file=sys.stderr)
                return 1
            tried.add(library)
            if not install([package]):
                return 1
    print(f"system-libs: all there ({', '.join(MODULES)} import)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
