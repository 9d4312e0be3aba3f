"""A Hub on the loopback interface: what the real client asks of one, and faults on demand.

`Hub()` serves models, Spaces, files, tags and collections from memory; large files are kept by a
second server on another port, as the real Hub keeps them on other hosts, so a token that strays is
seen. `hub.fail(...)` makes the next requests that match go wrong; `hub.requests` is what was asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

TOKEN = "hf_planted0token0that0nobody0may0ever0see"
USER = "ann"
LARGE = (".safetensors", ".parquet", ".svg", ".jsonl")  # what this Hub keeps as large files
GIT_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
DATE = "2026-01-02T03:04:05.000Z"


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def changed(data: bytes) -> bytes:
    """Other bytes of the same length."""
    return bytes([data[0] ^ 1]) + data[1:] if data else data


@dataclass
class Repo:
    """One repository; a commit is a mapping from path to content."""

    name: str
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    sdk: str | None = None  # of a Space; its secrets and variables by name:
    settings: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        content = "".join(f"{path}{git_sha1(data)}" for path, data in sorted(files.items()))
        oid = hashlib.sha1(f"{self.name}{len(self.commits)}{content}".encode()).hexdigest()
        self.commits[oid] = files
        return oid

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.head]

    def resolve(self, revision: str) -> str | None:
        if revision == "main":
            return self.head
        return self.tags.get(revision) or (revision if revision in self.commits else None)


@dataclass
class Fault:
    """What goes wrong with requests whose "METHOD /path" matches, `times` times.

    status, headers, body: the answer. cut: the connection is closed after so many bytes of what is
    sent, or received for a PUT. wrong: the content is changed, its length kept. stall: no answer
    before the server closes. after: the request is carried out, then the connection closed.
    """

    match: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    wrong: bool = False
    stall: bool = False
    after: bool = False


class Request(NamedTuple):
    """One request as it arrived."""

    server: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Hub:
    """The server; a context manager. `url` is what HF_ENDPOINT should be."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.collections: dict[str, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.naps: list[float] = []
        self.closing = threading.Event()
        self.lock = threading.RLock()
        self._servers = [self._serve(_Api), self._serve(_Storage)]
        self.url, self.storage = (f"http://127.0.0.1:{s.server_port}" for s in self._servers)

    def _serve(self, handler: type[_Handler]) -> ThreadingHTTPServer:
        bound = type(handler.__name__, (handler,), {"hub": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving; from then on nothing answers."""
        self.closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def fail(self, match: str, **how: Any) -> None:
        """Make requests whose "METHOD /path" matches the expression go wrong."""
        self.faults.append(Fault(match, **how))

    def count(self, match: str) -> int:
        """How many requests there were whose "METHOD /path" matches."""
        return sum(bool(re.search(match, f"{r.method} {r.path}")) for r in self.requests)

    def make(self, repo_id: str, *, private: bool = True, **files: bytes) -> Repo:
        """A repository as if its owner had made it on the web page."""
        repo = self.repos[repo_id] = Repo(repo_id, private)
        repo.commit({".gitattributes": GIT_ATTRIBUTES, **files})
        return repo


def client_settings(url: str, home: Path) -> dict[str, Any]:
    """The client's constants that make it talk to a Hub at `url`, and cache in `home`."""
    return {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_ASSETS_CACHE": str(home / "assets"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
        "AGENT_HARNESSES_PATH": str(home / "harnesses.json"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }


def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """For `pytest.fixture`: a Hub that the real client, in this process, talks to.

    Its cache is in `tmp_path / "home"`; its pauses between tries are recorded and not slept.
    """
    from huggingface_hub import close_session, constants

    with Hub() as server:
        for name, value in client_settings(server.url, tmp_path / "home").items():
            monkeypatch.setattr(constants, name, value, raising=False)  # not all versions have all
        for name in ("HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        clock = SimpleNamespace(**{**vars(time), "sleep": server.naps.append})
        for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
            monkeypatch.setattr(f"{module}.time", clock)
        close_session()
        yield server


class _Cut(Exception):
    """The connection is to be closed now."""


class _Refused(Exception):
    """A status, why, and the Hub's name for the error."""


class _Handler(BaseHTTPRequestHandler):
    """One request per connection, so nothing answers once the server is closed."""

    hub: Hub

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def handle_any(self) -> None:
        path = unquote(self.path)
        self.query = parse_qs(urlsplit(self.path).query)
        self.fault = fault = self._fault(f"{self.command} {path}")
        try:
            self.body = self._body(path)
            if fault.stall:
                self.hub.closing.wait(5)
                raise _Cut
            if fault.status is not None:
                echo = self.headers.get("Authorization", "").encode()
                self.fault = Fault("")
                self.send(fault.status, fault.body.replace(b"{echo}", echo), fault.headers)
            else:
                self.answer(urlsplit(path).path)
        except (_Cut, ConnectionError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def _fault(self, line: str) -> Fault:
        """The first fault that is left for a request; one that does nothing where there is none."""
        with self.hub.lock:
            for fault in self.hub.faults:
                if fault.times > 0 and re.search(fault.match, line):
                    fault.times -= 1
                    return fault
        return Fault("")

    def _body(self, path: str) -> bytes:
        """What is sent with the request, which is recorded; of a cut upload only the beginning."""
        length = int(self.headers.get("Content-Length") or 0)
        is_cut = self.command == "PUT" and self.fault.cut is not None
        body = self.rfile.read(min(self.fault.cut, length) if is_cut else length)
        headers = {key.lower(): value for key, value in self.headers.items()}
        server = "storage" if isinstance(self, _Storage) else "hub"
        with self.hub.lock:
            self.hub.requests.append(Request(server, self.command, path, headers, body))
        if is_cut:
            raise _Cut
        return body

    def send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        if self.fault.after:
            raise _Cut
        if self.fault.wrong:
            data = changed(data)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: self.fault.cut])

    def answer(self, path: str) -> None:
        raise NotImplementedError


class _Storage(_Handler):
    """Where large files are: no tokens here, the address is the permission."""

    def answer(self, path: str) -> None:
        oid = path.rsplit("/", 1)[-1]
        if self.command == "PUT":
            self.hub.blobs[oid] = changed(self.body) if self.fault.wrong else self.body
            self.send(200, b"", {})
        else:
            data, headers = self.hub.blobs[oid], {"ETag": f'"{oid}"'}
            begin = int(re.sub(r"\D", "", self.headers.get("Range") or "0"))
            if begin >= len(data):
                self.send(416, b"", headers)
            elif begin:
                headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
                self.send(206, data[begin:], headers)
            else:
                self.send(200, data, headers)


_ROUTES: list[tuple[str, str, Callable[..., Any]]] = []


def _route(methods: str, pattern: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a method of `_Api` answer these requests with what it returns, as JSON.

    It is called with the repository and the commit that the path names, and its other groups.
    """
    pattern = pattern.replace("REPO", r"(?P<repo>[\w.-]+/[\w.-]+)")
    pattern = pattern.replace("COMMIT", r"(?P<commit>[^/]+)")

    def add(handle: Callable[..., Any]) -> Callable[..., Any]:
        _ROUTES.append((methods, pattern, handle))
        return handle

    return add


class _Api(_Handler):
    """The Hub itself."""

    def answer(self, path: str) -> None:
        try:
            with self.hub.lock:
                value = self.routed(path)
        except _Refused as error:
            status, message, code = error.args
            self.send(status, json.dumps({"error": message}).encode(), {"X-Error-Code": code})
            return
        if value is not None:
            self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def routed(self, path: str) -> Any:
        self.known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if self.command == "POST" and not self.known:
            raise _Refused(401, "Invalid credentials in Authorization header", "")
        for methods, pattern, handle in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in methods.split():
                named: dict[str, Any] = match.groupdict()
                if "repo" in named:
                    named["repo"] = repo = self.hub.repos.get(named["repo"])
                    if repo is None or (repo.private and not self.known):
                        status = 404 if self.known else 401
                        raise _Refused(status, "Repository not found", "RepoNotFound")
                if "commit" in named:
                    named["commit"] = repo.resolve(named["commit"])
                    if named["commit"] is None:
                        raise _Refused(404, "Invalid rev id", "RevisionNotFound")
                return handle(self, **named)
        raise _Refused(404, f"nothing here called {path}", "")

    def asked(self) -> dict[str, Any]:
        return json.loads(self.body)

    @_route("GET", "/api/whoami-v2")
    def whoami(self) -> Any:
        return {"type": "user", "name": USER, "orgs": []}

    @_route("POST", "/api/repos/create")
    def create(self) -> Any:
        asked = self.asked()
        repo_id = f"{asked.get('organization') or USER}/{asked['name']}"
        private = asked.get("visibility") == "private" or asked.get("private") is True
        self.hub.make(repo_id, private=private).sdk = asked.get("sdk")
        return {"url": f"{self.hub.url}/{repo_id}"}

    @_route("POST", "/api/validate-yaml")
    def validate(self) -> Any:
        assert isinstance(yaml.safe_load(self.asked()["content"].split("---\n")[1]), dict)
        return {"errors": [], "warnings": []}

    @_route("POST", "/api/(?:models|spaces)/REPO/preupload/COMMIT")
    def preupload(self, repo: Repo, commit: str) -> Any:
        modes = []
        for path in (file["path"] for file in self.asked()["files"]):
            mode = "lfs" if path.endswith(LARGE) else "regular"
            modes.append({"path": path, "uploadMode": mode, "shouldIgnore": False})
        return {"files": modes}

    @_route("POST", r"(?:/spaces)?/REPO\.git/info/lfs/objects/batch")
    def batch(self, repo: Repo) -> Any:
        objects = []
        for one in self.asked()["objects"]:
            entry: dict[str, Any] = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.blobs:
                entry["actions"] = {"upload": {"href": f"{self.hub.storage}/lfs/{one['oid']}"}}
            objects.append(entry)
        return {"transfer": "basic", "objects": objects}

    @_route("POST", "/api/(?:models|spaces)/REPO/commit/COMMIT")
    def commit(self, repo: Repo, commit: str) -> Any:
        head, *lines = (json.loads(line) for line in self.body.splitlines())
        if head["value"].get("parentCommit") not in (None, repo.head):
            raise _Refused(412, "A commit has happened since. Please refresh", "")
        files = dict(repo.files)
        for value in (line["value"] for line in lines):
            if "content" in value:
                files[value["path"]] = base64.b64decode(value["content"])
            elif "oid" in value:
                files[value["path"]] = self.hub.blobs[value["oid"]]
            else:  # deletedFile
                files.pop(value["path"])
        oid = repo.commit(files)
        return {"commitUrl": f"{self.hub.url}/{repo.name}/commit/{oid}", "commitOid": oid}

    @_route("GET", "/api/(?:models|datasets|spaces)/REPO/revision/COMMIT")
    def info(self, repo: Repo, commit: str) -> Any:
        card = repo.commits[commit].get("README.md", b"").decode()
        data = yaml.safe_load(card.split("---\n")[1]) if card.startswith("---\n") else {}
        return {
            "id": repo.name,
            "sha": commit,
            "private": repo.private,
            "lastModified": DATE,
            "tags": data.get("tags", []),
            "cardData": data,
        }

    @_route("GET", "/api/(?:models|datasets|spaces)/REPO")
    def latest(self, repo: Repo) -> Any:
        return self.info(repo, repo.head)

    @_route("GET", "/api/models")
    def models(self) -> Any:
        (author,), wanted = self.query["author"], set(self.query["filter"])
        listed = [
            self.latest(repo)
            for repo in self.hub.repos.values()
            if repo.name.startswith(f"{author}/") and (self.known or not repo.private)
        ]
        return [one for one in listed if wanted <= set(one["tags"])]

    @_route("GET", "/api/(?:models|datasets|spaces)/REPO/tree/COMMIT/?")
    def tree(self, repo: Repo, commit: str) -> Any:
        listed = []
        for path, data in sorted(repo.commits[commit].items()):
            size = {"size": len(data)}
            entry = {"type": "file", "path": path, "oid": git_sha1(data), **size}
            if path.endswith(LARGE):
                entry["lfs"] = {"oid": sha256(data), "pointerSize": 134, **size}
            listed.append(entry)
        return listed

    @_route("GET", "/api/models/REPO/refs")
    def refs(self, repo: Repo) -> Any:
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
            for name, oid in repo.tags.items()
        ]
        return {"branches": [], "converts": [], "tags": tags}

    @_route("POST", "/api/models/REPO/tag/COMMIT")
    def tag(self, repo: Repo, commit: str) -> Any:
        repo.tags[self.asked()["tag"]] = commit
        return {}

    @_route("POST", "/api/spaces/REPO/(?:secrets|variables)")
    def set(self, repo: Repo) -> Any:
        asked = self.asked()
        repo.settings[asked["key"]] = asked["value"]
        return {}

    @_route("GET HEAD", "(?:/datasets)?/REPO/resolve/COMMIT/(?P<path>.+)")
    def resolve(self, repo: Repo, commit: str, path: str) -> None:
        data = repo.commits[commit][path]
        headers = {"X-Repo-Commit": commit}
        if path.endswith(LARGE):
            oid = sha256(data)
            self.hub.blobs.setdefault(oid, data)
            headers |= {"X-Linked-ETag": f'"{oid}"', "X-Linked-Size": str(len(data))}
            self.send(302, b"", {**headers, "Location": f"{self.hub.storage}/lfs/{oid}"})
        else:
            self.send(200, data, {**headers, "ETag": f'"{git_sha1(data)}"'})

    @_route("GET", "/api/collections")
    def list_collections(self) -> Any:
        held = [c for c in self.hub.collections.values() if c["owner"] in self.query["owner"]]
        return [{**one, "items": one["items"][:4]} for one in held]  # the Hub lists no more

    @_route("POST", "/api/collections")
    def create_collection(self) -> Any:
        asked = self.asked()
        owner, title = asked.pop("namespace"), asked["title"]
        slug = f"{owner}/{title.lower().replace(' ', '-')}-0123456789abcdef"
        looks = {"lastUpdated": DATE, "theme": "blue", "upvotes": 0}
        self.hub.collections[slug] = {"slug": slug, "owner": owner, "items": [], **asked, **looks}
        return self.collection(slug)

    @_route("POST", "/api/collections/(?P<slug>.+)/items")
    def add_item(self, slug: str) -> Any:
        asked, items = self.asked(), self.hub.collections[slug]["items"]
        numbered = {"_id": f"{len(items):024x}", "position": len(items)}
        items.append({**asked["item"], **numbered, "note": {"text": asked["note"]}})
        return self.collection(slug)

    @_route("GET", "/api/collections/(?P<slug>.+)")
    def collection(self, slug: str) -> Any:
        return {**self.hub.collections[slug], "position": 0}
