"""Tests of build.py: `python3 -m unittest discover -s images`."""
import dataclasses
import gzip
import http.server
import io
import json
import pathlib
import re
import tarfile
import tempfile
import threading
import unittest
import zipfile

import build


class Sources(unittest.TestCase):
    """The machine's own Debian archives are found, whichever format names them."""

    def check(self, files: dict, expected: list) -> None:
        with tempfile.TemporaryDirectory() as folder:
            etc = pathlib.Path(folder)
            (etc / "sources.list.d").mkdir()
            for name, text in files.items():
                (etc / name).write_text(text)
            self.assertEqual(build.debian_sources(etc, "bookworm"), expected)

    def test_deb822_is_read_and_comments_in_it_are_not(self):
        text = (
            "Types: deb deb-src\n# a comment\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\n"
            "Components: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
            "Types: deb\nURIs: https://s.example/debian-security\nSuites: bookworm-security\nComponents: main\n"
        )
        self.check({"sources.list.d/debian.sources": text}, [
            "deb http://a.example/debian bookworm main",
            "deb http://a.example/debian bookworm-updates main",
            "deb https://s.example/debian-security bookworm-security main",
        ])

    def test_the_classic_format_is_read(self):
        text = (
            "# deb http://old.example/debian bookworm main\ndeb-src http://a.example/debian bookworm main\n"
            "deb [arch=amd64] http://a.example/debian bookworm main non-free # ours\n"
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://a.example/debian bookworm-updates main\n"
        )
        self.check({"sources.list": text}, [
            "deb http://a.example/debian bookworm main", "deb http://a.example/debian bookworm-updates main",
        ])

    def test_third_parties_other_releases_and_what_is_switched_off_are_left_out(self):
        ours = "deb http://a.example/debian bookworm main\n"
        others = (
            "deb [signed-by=/etc/apt/keyrings/other.gpg] http://b.example bookworm main\n"
            "deb http://c.example/debian trixie main\ndeb http://d.example/linux bookworm stable\n"
        )
        off = "Enabled: no\nTypes: deb\nURIs: http://e.example\nSuites: bookworm\nComponents: main\n"
        self.check(
            {"sources.list": ours, "sources.list.d/o.list": others, "sources.list.d/off.sources": off}, [ours.strip()]
        )

    def test_a_machine_without_a_debian_archive_is_told_so(self):
        with self.assertRaisesRegex(build.BuildError, "no Debian archive for bookworm"):
            self.check({"sources.list": ""}, [])


def tree(path: pathlib.Path, files: dict) -> None:
    """A tar file of texts (None: a folder), as mmdebstrap writes one: names with `./`."""
    with tarfile.open(path, "w") as out:
        for name, text in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.mtime, info.uname = 1_700_000_000, "somebody"
            if text is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                out.addfile(info)
            else:
                info.size = len(text)
                out.addfile(info, io.BytesIO(text.encode()))


class Layers(unittest.TestCase):
    """A layer holds what differs, without anything of the machine that built it."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.recipe = build.Recipe("x", self.folder / "x", "debian", [], None, [], ["usr/drop"], None, {}, {})

    def layer(self, files: dict, below: dict):
        tree(self.folder / "tree.tar", files)
        layer, seen = build.write_layer(self.recipe, self.folder / "tree.tar", self.folder / "out.gz", below)
        with gzip.open(self.folder / "out.gz") as plain, tarfile.open(fileobj=io.BytesIO(plain.read())) as read:
            return layer, seen, read.getmembers()

    def test_only_what_differs_is_written_and_what_is_gone_leaves_a_whiteout(self):
        _, below, _ = self.layer({"etc": None, "etc/same": "1", "etc/other": "1", "etc/gone": "1"}, {})
        _, _, members = self.layer({"etc": None, "etc/same": "1", "etc/other": "2", "etc/new": "1"}, below)
        self.assertEqual([member.name for member in members], ["etc/other", "etc/new", "etc/.wh.gone"])

    def test_the_same_files_give_the_same_digest_whatever_their_dates(self):
        first, _, members = self.layer({"etc": None, "etc/a": "1"}, {})
        self.assertEqual({(member.mtime, member.uname) for member in members}, {(0, "")})
        self.assertEqual(self.layer({"etc": None, "etc/a": "1"}, {})[0].digest, first.digest)

    def test_the_build_machines_traces_and_what_the_recipe_drops_are_left_out(self):
        _, seen, _ = self.layer({
            "etc/resolv.conf": "x", "var/log/apt": "x", "var/log": None, "usr/drop/x": "x", "usr/dropped": "x",
        }, {})
        self.assertEqual(sorted(seen), ["usr/dropped", "var/log"])

    def test_a_recipe_with_the_wheel_holds_its_files_where_debians_python_looks(self):
        with zipfile.ZipFile(self.folder / "pouw-1-abi3-linux.whl", "w") as wheel:
            wheel.writestr("pouw/", "")
            wheel.writestr("pouw/__init__.py", "x = 1")
        self.recipe = dataclasses.replace(self.recipe, wheel=True)
        _, _, members = self.layer({"etc": None}, {})
        path = "usr/lib/python3/dist-packages/pouw/__init__.py"
        self.assertEqual([(member.name, member.mode) for member in members], [("etc", 0o755), (path, 0o644)])

    def test_the_package_s_sources_decide_what_a_recipe_with_the_wheel_holds(self):
        names = {str(path.relative_to(build.HERE.parent)) for path in build.wheel_sources()}
        for name in ("python/pouw/__init__.py", "crates/matmul/src/job.rs", "crates/python/Cargo.toml"):
            self.assertIn(name, names)
        plain = build.Recipe.read("python")
        self.assertNotEqual(plain.inputs(), dataclasses.replace(plain, wheel=False).inputs())

    def test_a_hard_link_into_the_base_is_refused(self):
        _, below, _ = self.layer({"a": "1"}, {})
        with tarfile.open(self.folder / "tree.tar", "w") as out:
            info = tarfile.TarInfo("./a")
            info.size = 1
            out.addfile(info, io.BytesIO(b"1"))
            link = tarfile.TarInfo("./b")
            link.type, link.linkname = tarfile.LNKTYPE, "./a"
            out.addfile(link)
        with self.assertRaisesRegex(build.BuildError, "b is a hard link into the base, to a"):
            build.write_layer(self.recipe, self.folder / "tree.tar", self.folder / "out.gz", below)


class Recipes(unittest.TestCase):
    """Recipes are read strictly, and what a host reads of them is sound."""

    def test_an_unknown_image_is_answered_with_those_there_are(self):
        for name in ("blendr", "../base"):
            with self.assertRaisesRegex(build.BuildError, "there are: base, hello, blender"):
                build.Recipe.read(name)

    def test_every_recipe_of_the_library_can_be_read_and_its_bench_is_a_command(self):
        for name in build.library():
            recipe = build.Recipe.read(name)
            self.assertIn(recipe.labels["pouw.use-case"], ("general", "ai", "rendering", "gaming"))
            bench = json.loads(recipe.labels.get("pouw.bench", '["none"]'))
            self.assertTrue(all(isinstance(word, str) for word in bench))


class FakeRegistry(http.server.BaseHTTPRequestHandler):
    """Keeps blobs and manifests in memory, as the distribution API asks."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, **headers) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self):  # noqa: N802
        self.answer(200 if self.path in self.server.kept else 404)

    def do_POST(self):  # noqa: N802
        self.answer(202, Location=f"http://elsewhere{self.path}id?state=1")

    def do_PUT(self):  # noqa: N802
        content = self.rfile.read(int(self.headers["Content-Length"]))
        path = re.sub(r"uploads/id\?state=1&digest=", "", self.path)
        digest = f"sha256:{build.hashlib.sha256(content).hexdigest()}"
        self.server.kept[path.replace("latest", digest)] = content
        self.answer(201, Docker_Content_Digest=self.server.lie or digest)

    def log_message(self, *_):
        pass


class Pushing(unittest.TestCase):
    """What is pushed is there under its digest, once."""

    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeRegistry)
        self.server.kept, self.server.lie = {}, None
        threading.Thread(target=self.server.serve_forever, args=(0.01,)).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.registry = build.Registry(f"127.0.0.1:{self.server.server_port}")

    def test_a_blob_is_uploaded_once_and_found_again(self):
        digest = f"sha256:{build.hashlib.sha256(b'blob').hexdigest()}"
        self.registry.push_blob("pouw/x", digest, 4, b"blob")
        self.assertTrue(self.registry.has("blobs", "pouw/x", digest))
        self.server.kept[f"/v2/pouw/x/blobs/{digest}"] = b"kept"
        self.registry.push_blob("pouw/x", digest, 4, b"blob")
        self.assertEqual(self.server.kept[f"/v2/pouw/x/blobs/{digest}"], b"kept")

    def test_a_registry_that_stores_another_digest_is_not_believed(self):
        self.assertRegex(self.registry.push_manifest("pouw/x", b"{}"), "^sha256:")
        self.server.lie = "sha256:00"
        with self.assertRaisesRegex(build.BuildError, "stored sha256:00, not sha256:"):
            self.registry.push_manifest("pouw/x", b"{}")

    def test_the_index_is_kept_and_follows_a_moved_registry(self):
        with tempfile.TemporaryDirectory() as folder:
            state = pathlib.Path(folder)
            build.Builder(state, self.registry, False).record("x", {"digest": "sha256:1", "inputs": "i"})
            moved = build.Builder(state, build.Registry("127.0.0.1:9"), False)
            moved.record("x", moved.index["x"])
            index = json.loads((state / "images.json").read_text())
            self.assertEqual(index["images"]["x"]["reference"], "127.0.0.1:9/pouw/x@sha256:1")


if __name__ == "__main__":
    unittest.main()
