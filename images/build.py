#!/usr/bin/env python3
"""Builds the image library without Docker and pushes it to a registry on loopback.

An image is a folder with an `image.toml`. Its root file system comes from Debian packages (`kind = "debian"`, a
whole system by mmdebstrap; `kind = "debs"`, single files out of packages), and from the folder's `rootfs/`. An image
with a `base` holds only what differs from it. docs/guides/image-building.md describes the files.

What has been built from the same inputs and is still in the registry is not built again.
"""
import argparse
import contextlib
import dataclasses
import gzip
import hashlib
import http.client
import io
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
# Raised when this file makes another image of the same recipe.
FORMAT = 1
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# Of no use to a task, or the build machine's own.
DROPPED = [
    "dev", "proc", "sys", "run", "var/cache", "var/lib/apt/lists", "var/log", "etc/machine-id", "etc/resolv.conf", "etc/hostname",
]
EXCLUDED_BY_DPKG = [
    "path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright", "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*", "path-exclude=/usr/share/info/*", "path-exclude=/usr/share/lintian/*",
]
# Tasks run as this user, which owns nothing in the image.
USER = "task:x:1000:1000::/tmp:/bin/sh"
GROUP = "task:x:1000:"


class BuildError(Exception):
    """What went wrong, for people."""


# --- recipes ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One `image.toml`, as read."""

    name: str
    folder: pathlib.Path
    kind: str
    packages: list
    base: str | None
    keep: list
    drop: list
    applets: str | None
    config: dict
    labels: dict
    wheel: bool = False

    @staticmethod
    def read(name: str) -> "Recipe":
        folder = HERE / name
        path = folder / "image.toml"
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or not path.is_file():
            raise BuildError(f"no image {name!r}; there are: {', '.join(library())}")
        raw = tomllib.loads(path.read_text())
        known = {"kind", "base", "packages", "keep", "drop", "applets", "config", "labels", "wheel"}
        if unknown := raw.keys() - known:
            raise BuildError(f"{path}: unknown field {sorted(unknown)[0]!r}; known: {', '.join(sorted(known))}")
        if raw.get("kind") not in ("debian", "debs"):
            raise BuildError(f"{path}: kind is {raw.get('kind')!r}; it must be debian or debs")
        return Recipe(
            name, folder, raw["kind"], raw.get("packages", []), raw.get("base"), raw.get("keep", []),
            raw.get("drop", []), raw.get("applets"), raw.get("config", {}), raw.get("labels", {}),
            raw.get("wheel", False),
        )

    def inputs(self) -> str:
        """A digest of everything that decides what the image holds, but for the packages' versions."""
        digest = hashlib.sha256(f"{FORMAT} {codename()} {platform.machine()}".encode())
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            mode = "x" if os.access(path, os.X_OK) else "-"
            digest.update(f"\0{path.relative_to(self.folder)}\0{mode}\0".encode() + path.read_bytes())
        for path in wheel_sources() if self.wheel else []:
            digest.update(f"\0{path.relative_to(HERE.parent)}\0".encode() + path.read_bytes())
        if self.base:
            digest.update(Recipe.read(self.base).inputs().encode())
        return digest.hexdigest()


def wheel_sources() -> list:
    """What the package `pouw` is made of, but for the crates of others."""
    root = HERE.parent
    folders = [root / "python" / "pouw", *(root / "crates" / name for name in ("matmul", "mining", "python"))]
    files = [root / "python" / "pyproject.toml", *(path for folder in folders for path in folder.rglob("*"))]
    return sorted(path for path in files if path.suffix in (".py", ".rs", ".toml", ".pyi", ".typed") and path.is_file())


def library() -> list:
    """The names of all images, bases first."""
    names = sorted(path.parent.name for path in HERE.glob("*/image.toml"))
    return sorted(names, key=lambda name: b"base =" in (HERE / name / "image.toml").read_bytes())


# --- the machine's Debian --------------------------------------------------------------------------


def codename() -> str:
    """The name of this machine's Debian release."""
    found = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.M)
    if not found:
        raise BuildError("/etc/os-release names no VERSION_CODENAME; images are built on Debian")
    return found.group(1)


def debian_sources(etc: pathlib.Path, suite: str) -> list:
    """This machine's own Debian sources as one-line entries, from both formats; third parties' are left out."""
    entries = []
    for path in sorted([etc / "sources.list", *(etc / "sources.list.d").glob("*")]):
        if path.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n?", "", path.read_text(), flags=re.M)):
                field = {
                    key.lower(): value.split() for key, value in re.findall(r"^([\w-]+):((?:.|\n[ \t])*)", stanza, re.M)
                }
                if field.get("enabled", ["yes"]) == ["yes"] and "deb" in field.get("types", []):
                    signed = " ".join(field.get("signed-by", []))
                    entries += [
                        (signed, uri, of, field.get("components", []))
                        for uri in field.get("uris", []) for of in field.get("suites", [])
                    ]
        elif path.suffix == ".list" and path.is_file():
            for options, uri, of, components in re.findall(
                r"^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#\n]+)", path.read_text(), re.M
            ):
                signed = re.search(r"signed-by=(\S+)", options)
                entries.append((signed.group(1) if signed else "", uri, of, components.split()))
    ours = {suite, f"{suite}-updates", f"{suite}-security"}
    lines = [
        f"deb {uri} {of} main" for signed, uri, of, components in entries
        if of in ours and "main" in components and (not signed or "debian-archive" in signed)
    ]
    if not any(line.split()[2] == suite for line in lines):
        raise BuildError(f"the apt sources of this machine name no Debian archive for {suite}")
    return list(dict.fromkeys(lines))


def run(command: list, **options) -> bytes:
    """Runs a program and gives what it prints; its complaints are shown only when it fails.

    When we are interrupted the program is asked to end and waited for, so that it can unmount what it has mounted.
    """
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **(pipes | options)) as process:
        try:
            out, complaints = process.communicate()
        except BaseException:
            process.terminate()
            process.communicate()
            raise
    if process.returncode != 0:
        tail = "\n  ".join(complaints.decode(errors="replace").strip().splitlines()[-15:])
        raise BuildError(f"{command[0]} failed with {process.returncode}:\n  {tail}")
    return out


def debian_tree(recipe: Recipe, target: pathlib.Path) -> None:
    """A whole Debian with the recipe's packages, as a tar file."""
    suite = codename()
    command = ["mmdebstrap", "--variant=minbase", "--format=tar", f"--include={','.join(recipe.packages)}"]
    command += [f"--dpkgopt={option}" for option in EXCLUDED_BY_DPKG]
    command += [
        "--customize-hook=" + f'echo "{USER}" >> "$1/etc/passwd"; echo "{GROUP}" >> "$1/etc/group"',
        suite, "-", *debian_sources(pathlib.Path("/etc/apt"), suite),
    ]
    if os.geteuid() != 0:
        command = ["sudo", "--preserve-env=http_proxy,https_proxy,no_proxy,TMPDIR", "--", *command]
    with target.open("wb") as out:
        # Not /tmp, which may be memory.
        run(command, stdout=out, cwd="/", env=os.environ | {"TMPDIR": str(target.parent)})


def debs_tree(recipe: Recipe, target: pathlib.Path) -> None:
    """Single files of packages, which are fetched and opened but not installed."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder, tarfile.open(target, "w") as out:
        run(["apt-get", "download", "-q", *recipe.packages], cwd=folder)
        found = set()
        for deb in sorted(pathlib.Path(folder).glob("*.deb")):
            data = run(["dpkg-deb", "--fsys-tarfile", str(deb)])
            with tarfile.open(fileobj=io.BytesIO(data)) as tree:
                for member in tree:
                    member.name = clean(member.name)
                    if member.name in recipe.keep:
                        found.add(member.name)
                        out.addfile(member, tree.extractfile(member))
                        if member.name == recipe.applets:
                            tool = pathlib.Path(folder) / pathlib.PurePath(recipe.applets).name
                            tool.write_bytes(tree.extractfile(member).read())
        if missing := set(recipe.keep) - found:
            raise BuildError(f"{recipe.name}: no package holds {sorted(missing)[0]}")
        for name in ("tmp", "etc", "bin"):
            out.addfile(entry(name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755))
        for name, line in (("etc/passwd", USER), ("etc/group", GROUP)):
            text = f"root:x:0:{'0:root:/:/bin/sh' if name == 'etc/passwd' else ''}\n{line}\n".encode()
            info = entry(name, tarfile.REGTYPE, 0o644)
            info.size = len(text)
            out.addfile(info, io.BytesIO(text))
        if recipe.applets:
            tool.chmod(0o755)
            own = pathlib.PurePath(recipe.applets).name
            for applet in sorted(run([str(tool), "--list"]).decode().split()):
                if applet != own:
                    link = entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
                    link.linkname = own
                    out.addfile(link)


# --- layers ----------------------------------------------------------------------------------------


def clean(name: str) -> str:
    """A member's path as layers write it: no leading `./` or `/`, no trailing `/`."""
    path = os.path.normpath(name).lstrip("/")
    return "" if path == "." else path


def entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    """A member owned by root, without a date."""
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, mode
    return info


class Sink:
    """A file that counts and digests what is written to it."""

    def __init__(self, out=None):
        self.out, self.size, self.sha = out, 0, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha.update(data)
        self.size += len(data)
        if self.out:
            self.out.write(data)
        return len(data)

    def flush(self) -> None:
        pass

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha.hexdigest()}"


@dataclasses.dataclass
class Layer:
    """A written layer: where it lies, its digests, its size in bytes packed and unpacked."""

    path: pathlib.Path
    digest: str
    diff_id: str
    size: int
    unpacked: int


def signature(info: tarfile.TarInfo, content: bytes) -> str:
    """What makes two members the same: kind, mode, owner, target, content; not the date."""
    digest = hashlib.sha256(content).hexdigest() if content else ""
    return f"{info.type.decode()} {info.mode:o} {info.uid}:{info.gid} {info.linkname} {digest}"


def wheel_members(wheel: pathlib.Path):
    """The files of a wheel, where Debian's Python finds them, each with its content."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(name for name in archive.namelist() if not name.endswith("/")):
            content = archive.read(name)
            info = entry(clean(f"usr/lib/python3/dist-packages/{name}"), tarfile.REGTYPE, 0o644)
            info.size = len(content)
            yield info, content


def built_wheel(folder: pathlib.Path) -> pathlib.Path:
    """The package `pouw`, built from this repository."""
    run([str(HERE.parent / "python" / "build"), "wheel", str(folder)])
    return next(folder.glob("*.whl"))


def members(recipe: Recipe, tree: pathlib.Path):
    """The members of the tree and of the recipe's own files, cleaned, each with its content."""
    dropped = tuple(DROPPED + recipe.drop)
    with tarfile.open(tree, "r|") as source:
        for info in source:
            info.name = clean(info.name)
            inside = any(info.name.startswith(f"{path}/") for path in dropped)
            own_file = info.name in dropped and not info.isdir()
            if not info.name or inside or own_file or info.ischr() or info.isblk():
                continue
            if info.islnk():
                info.linkname = clean(info.linkname)
            yield info, source.extractfile(info).read() if info.isreg() else b""
    own = recipe.folder / "rootfs"
    for path in sorted(own.rglob("*")):
        name = str(path.relative_to(own))
        if path.is_dir():
            yield entry(name, tarfile.DIRTYPE, 0o755), b""
        else:
            info = entry(name, tarfile.REGTYPE, 0o755 if os.access(path, os.X_OK) else 0o644)
            info.size = path.stat().st_size
            yield info, path.read_bytes()
    if recipe.wheel:
        yield from wheel_members(next(tree.parent.glob("*.whl")))


def write_layer(recipe: Recipe, tree: pathlib.Path, target: pathlib.Path, below: dict) -> tuple:
    """Writes what `tree` has beyond `below` (path → signature) as a gzipped tar; tells the layer and all signatures."""
    seen = {}
    with target.open("wb") as out:
        packed = Sink(out)
        with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=3, mtime=0) as zipped:
            plain = Sink(zipped)
            with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as layer:
                written = set()
                for info, content in members(recipe, tree):
                    info.mtime, info.uname, info.gname, info.pax_headers = 0, "", "", {}
                    seen[info.name] = signature(info, content)
                    if below.get(info.name) == seen[info.name]:
                        continue
                    if info.islnk() and info.linkname not in written:
                        raise BuildError(f"{recipe.name}: {info.name} is a hard link into the base, to {info.linkname}")
                    written.add(info.name)
                    layer.addfile(info, io.BytesIO(content) if info.isreg() else None)
                for gone in sorted(below.keys() - seen.keys()):
                    folder, _, name = gone.rpartition("/")
                    if not folder or folder in seen:
                        layer.addfile(entry(f"{folder}/.wh.{name}".lstrip("/"), tarfile.REGTYPE, 0o644))
    return Layer(target, packed.digest, plain.digest, packed.size, plain.size), seen


# --- the registry ----------------------------------------------------------------------------------


class Registry:
    """The few calls of the distribution API that a push needs."""

    def __init__(self, address: str):
        self.address = address

    def call(self, method: str, path: str, body=None, headers=None, expect=()) -> http.client.HTTPResponse:
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=300)) as connection:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            content = response.read()
        if expect and response.status not in expect:
            raise BuildError(f"the registry answered {response.status} to {method} {path}: {content[:300]!r}")
        return response

    def has(self, kind: str, repository: str, digest: str) -> bool:
        accept = {"Accept": MANIFEST}
        return self.call("HEAD", f"/v2/{repository}/{kind}/{digest}", headers=accept, expect=(200, 404)).status == 200

    def push_blob(self, repository: str, digest: str, size: int, content) -> None:
        """Uploads a blob, unless it is there, in one request."""
        if self.has("blobs", repository, digest):
            return
        start = self.call("POST", f"/v2/{repository}/blobs/uploads/", expect=(202,))
        at = re.sub(r"^https?://[^/]+", "", start.headers["Location"])
        at += ("&" if "?" in at else "?") + f"digest={digest}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self.call("PUT", at, body=content, headers=headers, expect=(201,))

    def push_manifest(self, repository: str, manifest: bytes) -> str:
        """Uploads a manifest by the tag `latest` and tells its digest."""
        headers = {"Content-Type": MANIFEST}
        answer = self.call("PUT", f"/v2/{repository}/manifests/latest", body=manifest, headers=headers, expect=(201,))
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        if answer.headers["Docker-Content-Digest"] != digest:
            raise BuildError(f"the registry stored {answer.headers['Docker-Content-Digest']}, not {digest}")
        return digest


# --- one image -------------------------------------------------------------------------------------


class Builder:
    """Builds images into a state folder and keeps their index, `images.json`."""

    def __init__(self, state: pathlib.Path, registry: Registry, fresh: bool):
        self.state, self.registry, self.fresh = state, registry, fresh
        self.work = state / "images"
        self.work.mkdir(parents=True, exist_ok=True)
        self.index = {}
        path = state / "images.json"
        if path.exists():
            old = json.loads(path.read_text())
            self.index = old.get("images", {}) if old.get("version") == 1 else {}
        self.done = set()

    def image(self, name: str) -> None:
        """Builds one image, after its base."""
        if name in self.done:
            return
        self.done.add(name)
        recipe = Recipe.read(name)
        if recipe.base:
            self.image(recipe.base)
        inputs, old, listing = recipe.inputs(), self.index.get(name), self.work / f"{name}.list"
        repository, began = f"pouw/{name}", time.monotonic()
        if not self.fresh and old and old["inputs"] == inputs and listing.exists():
            if self.registry.has("manifests", repository, old["digest"]):
                self.record(name, old)
                print(f"image {name}: unchanged", file=sys.stderr)
                return
        print(f"image {name}: building", file=sys.stderr)
        # A base is kept as its signatures and its part of the manifest.
        below = json.loads((self.work / f"{recipe.base}.list").read_text()) if recipe.base else {}
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            tree, blob = pathlib.Path(folder) / "tree.tar", pathlib.Path(folder) / "layer.tar.gz"
            if recipe.wheel:
                built_wheel(tree.parent)
            (debian_tree if recipe.kind == "debian" else debs_tree)(recipe, tree)
            layer, seen = write_layer(recipe, tree, blob, below.get("files", {}))
            layers = below.get("layers", []) + [
                {"diff_id": layer.diff_id, "digest": layer.digest, "size": layer.size, "unpacked": layer.unpacked}
            ]
            for part in layers[:-1]:
                self.mount(repository, f"pouw/{recipe.base}", part["digest"])
            with blob.open("rb") as content:
                self.registry.push_blob(repository, layer.digest, layer.size, content)
        digest = self.push(repository, recipe, layers)
        listing.write_text(json.dumps({"layers": layers, "files": seen}))
        self.record(name, {
            "reference": f"{self.registry.address}/{repository}@{digest}",
            "digest": digest,
            "size_bytes": sum(part["size"] for part in layers),
            "unpacked_bytes": sum(part["unpacked"] for part in layers),
            "labels": recipe.labels,
            "inputs": inputs,
        })
        size = self.index[name]["size_bytes"] / 1e6
        print(f"image {name}: {size:.1f} MB, built and pushed in {time.monotonic() - began:.0f} s", file=sys.stderr)

    def mount(self, repository: str, source: str, digest: str) -> None:
        """Makes a blob of one repository known in another, without sending it."""
        path = f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}"
        if self.registry.call("POST", path, expect=(201, 202)).status != 201:
            raise BuildError(f"the registry no longer holds {digest} of {source}; build again with --fresh")

    def push(self, repository: str, recipe: Recipe, layers: list) -> str:
        """Pushes config and manifest."""
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        config = {"User": "1000:1000", "WorkingDir": "/tmp", "Env": [path, "HOME=/tmp"]}
        config |= recipe.config | {"Labels": recipe.labels}
        text = canonical({
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [part["diff_id"] for part in layers]},
        })
        config_digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
        self.registry.push_blob(repository, config_digest, len(text), text)
        return self.registry.push_manifest(repository, canonical({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config_digest, "size": len(text)},
            "layers": [{"mediaType": LAYER, "digest": part["digest"], "size": part["size"]} for part in layers],
        }))

    def record(self, name: str, image: dict) -> None:
        """Writes the index anew, whole or not at all."""
        image["reference"] = f"{self.registry.address}/pouw/{name}@{image['digest']}"
        self.index[name] = image
        text = json.dumps({"version": 1, "registry": self.registry.address, "images": self.index}, indent=2) + "\n"
        fresh = self.state / "images.json.new"
        fresh.write_text(text)
        fresh.replace(self.state / "images.json")


def canonical(value: dict) -> bytes:
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", required=True, type=pathlib.Path, help="folder for the index and the cache")
    parser.add_argument("--registry", required=True, help="host:port of the registry")
    parser.add_argument("--fresh", action="store_true", help="build again what is unchanged")
    parser.add_argument("name", nargs="*", help="images to build (all)")
    arguments = parser.parse_args()
    # As Ctrl-C does: everything on the way out is tidied.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    builder = Builder(arguments.state, Registry(arguments.registry), arguments.fresh)
    try:
        for name in arguments.name or library():
            builder.image(name)
    except (BuildError, OSError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
