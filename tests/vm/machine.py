#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boots a whole Debian with its stock kernel in an emulator, with the build installed, and runs one script in it.

The machine has no disk: its root is a memory file system, made of two archives. The first is a Debian, made once and
kept ($WORKER_MESH_VM_CACHE, else ~/.cache/worker-mesh-vm); the second is the build and the script. What the script
prints is printed here, and its exit status is ours. Without what is needed for it: 77, and a line that says what.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SUITE = "bookworm"
PACKAGES = [
    "systemd", "systemd-sysv", "dbus", "curl", "procps", "python3",
    "libsystemd0", "libprotobuf-c1", "libsqlite3-0", "libmicrohttpd12", "libjson-c5", "libgnutls30", "libcap2",
]  # fmt: skip
KERNEL = "linux-image-cloud-amd64"
LEFT_OUT = re.compile(rb"\./(usr/share/(doc|man|locale|i18n|info)|var/(cache|lib)/apt|boot|proc|sys|dev)/")
MEMORY_MIB = 2048
BEGIN, END = "VM-SCRIPT-BEGIN", "VM-SCRIPT-END"

UNIT = f"""\
[Unit]
After=basic.target dbus.service
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh -c 'echo {BEGIN}; /usr/bin/python3 -u /vm-script.py; echo {END} $?; systemctl poweroff -ff'
"""


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def check_needs():
    for program in ("qemu-system-x86_64", "debootstrap", "cpio", "apt-get", "dpkg", "meson"):
        if not shutil.which(program):
            skip(f"there is no {program}")


def pack(folder, archive, names=None):
    """A cpio archive as the kernel reads it. Everything in it belongs to root, unless the names come from root."""
    if names is None:
        found = subprocess.run(["find", ".", "-mindepth", "1", "-print0"], cwd=folder, check=True, capture_output=True)
        names = found.stdout
    with open(archive, "wb") as file:
        owner = ["-R", "0:0"] if os.geteuid() != 0 else []
        subprocess.run(
            ["cpio", "--null", "--create", "--format=newc", "--quiet", *owner],
            cwd=folder, input=names, stdout=file, check=True,
        )  # fmt: skip


def make_kernel(cache):
    kernel = cache / "vmlinuz"
    if kernel.exists():
        return kernel
    depends = subprocess.run(["apt-cache", "depends", KERNEL], capture_output=True, text=True).stdout
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        skip(f"apt knows no {KERNEL}")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        if subprocess.run(["apt-get", "-qq", "download", found[1]], cwd=folder).returncode != 0:
            skip(f"{found[1]} cannot be downloaded")
        (package,) = pathlib.Path(folder).glob("*.deb")
        subprocess.run(["dpkg", "-x", package, f"{folder}/files"], check=True)
        (image,) = pathlib.Path(folder).glob("files/boot/vmlinuz-*")
        shutil.copy(image, cache / "vmlinuz.new")
    (cache / "vmlinuz.new").rename(kernel)
    return kernel


def make_root(cache):
    archive, root = cache / "root.cpio", cache / "root"
    if archive.exists():
        return archive
    if os.geteuid() != 0:
        skip("a Debian for the machine can be made by root only")
    if not root.exists():
        made = cache / "root.new"
        shutil.rmtree(made, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES), SUITE, str(made)]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
            skip("debootstrap failed")
        made.rename(root)
    found = subprocess.run(["find", ".", "-xdev", "-mindepth", "1", "-print0"], cwd=root, check=True, capture_output=True)
    names = b"\0".join(name for name in found.stdout.split(b"\0") if name and not LEFT_OUT.match(name)) + b"\0"
    pack(root, cache / "root.cpio.new", names)
    (cache / "root.cpio.new").rename(archive)
    return archive


def make_overlay(build, script, folder):
    """The build as it is installed, and what runs the script."""
    tree = folder / "tree"
    subprocess.run(
        ["meson", "install", "--quiet", "--no-rebuild", "-C", build, "--destdir", tree],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (tree / "etc/systemd/system/vm-script.service").write_text(UNIT)
    (wants / "vm-script.service").symlink_to("../vm-script.service")
    shutil.copy(script, tree / "vm-script.py")
    (tree / "init").symlink_to("usr/lib/systemd/systemd")
    pack(tree, folder / "overlay.cpio")
    return folder / "overlay.cpio"


def boot(kernel, archives, folder, limit):
    """Prints what the script prints; returns its exit status, or None where it did not come to its end."""
    initrd = folder / "initrd"
    with open(initrd, "wb") as file:
        for archive in archives:
            with open(archive, "rb") as part:
                shutil.copyfileobj(part, file)
    command = [
        "timeout", str(limit),
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MIB),
        "-nographic", "-no-reboot", "-kernel", str(kernel), "-initrd", str(initrd),
        "-append", "console=ttyS0 quiet panic=-1 systemd.show_status=0",
    ]  # fmt: skip
    status, within, console = None, False, []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as machine:
        for line in machine.stdout:
            text = line.decode(errors="replace").rstrip()
            console.append(text)
            if text.startswith(END):
                status, within = int(text.split()[1]), False
            if within:
                print(text, flush=True)
            within = within or text.startswith(BEGIN)
    if status is None:
        print("The machine did not come to the end of the script. Its console:", *console[-60:], sep="\n")
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", help="a build folder of meson")
    parser.add_argument("script", help="Python, to run in the machine")
    parser.add_argument("--timeout", type=int, default=900, help="seconds (default: 900)")
    arguments = parser.parse_args()
    default = pathlib.Path.home() / ".cache/worker-mesh-vm"
    cache = pathlib.Path(os.environ.get("WORKER_MESH_VM_CACHE") or default)

    check_needs()
    cache.mkdir(parents=True, exist_ok=True)
    kernel, root = make_kernel(cache), make_root(cache)
    with tempfile.TemporaryDirectory(prefix="worker-mesh-vm-") as name:
        folder = pathlib.Path(name)
        overlay = make_overlay(arguments.build, arguments.script, folder)
        status = boot(kernel, [root, overlay], folder, arguments.timeout)
    sys.exit(1 if status is None else status)


if __name__ == "__main__":
    main()
