"""A Hub on the loopback interface: what the real client asks of one, and faults on demand.

`Hub()` serves models, files, tags and collections from memory; large files are kept by a second
server on another port, as the real Hub keeps them on other hosts, so a token that strays is seen.
`hub.fail(...)` makes the next requests that match go wrong; `hub.requests` is what was asked.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_planted0token0that0nobody0may0ever0see"
USER = "ann"
LARGE = (".safetensors", ".parquet", ".svg")  # what this Hub keeps as large files
GIT_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
DATE = "2026-01-02T03:04:05.000Z"
STAMP = re.compile(r"\W+")


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Clock:
    """Time without its waits; `naps` are the seconds that were to be slept."""

    def __init__(self) -> None:
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def point_client_at(url: str, home: Path, monkeypatch: Any, token: str | None = TOKEN) -> Clock:
    """Send the real client, in this process, to the Hub at `url` with a cache in `home`.

    Its own pauses between tries are recorded and not slept.
    """
    from huggingface_hub import close_session, constants

    for name, value in {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_ASSETS_CACHE": str(home / "assets"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
        "AGENT_HARNESSES_PATH": str(home / "harnesses.json"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }.items():
        monkeypatch.setattr(constants, name, value, raising=False)  # not all versions have all
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    clock = Clock()
    for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
        monkeypatch.setattr(f"{module}.time", clock)
    close_session()
    return clock


@dataclass
class Repo:
    """One model repository; a commit is a mapping from path to content."""

    name: str
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        content = "".join(f"{path}{git_sha1(data)}" for path, data in sorted(files.items()))
        oid = hashlib.sha1(f"{self.name}{len(self.order)}{content}".encode()).hexdigest()
        self.commits[oid] = files
        self.order.append(oid)
        return oid

    @property
    def head(self) -> str:
        return self.order[-1]

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
    sent, or received for a PUT. wrong: the answer's content is changed, its length kept. stall: no
    answer before the server closes. after: the request is carried out, then the connection closed.
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
    seen: int = 0


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    server: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Hub:
    """The server; a context manager. `url` is what HF_ENDPOINT should be."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.collections: dict[str, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self.connections: list[socket.socket] = []
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
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def fail(self, match: str, **how: Any) -> Fault:
        """Make requests whose "METHOD /path" matches the expression go wrong."""
        fault = Fault(match, **how)
        self.faults.append(fault)
        return fault

    def count(self, match: str) -> int:
        """How many requests there were whose "METHOD /path" matches."""
        return sum(bool(re.search(match, f"{r.method} {r.path}")) for r in self.requests)

    def forget(self) -> None:
        """Clear the record of requests."""
        self.requests.clear()

    def make(self, repo_id: str, *, private: bool = True, **files: bytes) -> Repo:
        """A repository as if its owner had made it on the web page."""
        repo = Repo(repo_id, private)
        repo.commit({".gitattributes": GIT_ATTRIBUTES, **files})
        self.repos[repo_id] = repo
        return repo


class _Cut(Exception):
    """The connection is to be closed now."""


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    server_name = ""
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        with self.hub.lock:
            self.hub.connections.append(self.connection)

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def handle_any(self) -> None:
        path = unquote(self.path)
        self.fault: Fault | None = None
        fault = self._fault(f"{self.command} {path}")
        try:
            body = self._body(path, fault)
            if fault is not None and fault.stall:
                self.hub.closing.wait(5)
                raise _Cut
            if fault is not None and fault.status is not None:
                echo = self.headers.get("Authorization", "").encode()
                self.send(fault.status, fault.body.replace(b"{echo}", echo), fault.headers)
                return
            self.fault = fault
            self.answer(urlsplit(path).path, parse_qs(urlsplit(self.path).query), body)
        except (_Cut, ConnectionError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def _fault(self, line: str) -> Fault | None:
        with self.hub.lock:
            for fault in self.hub.faults:
                if fault.seen < fault.times and re.search(fault.match, line):
                    fault.seen += 1
                    return fault
        return None

    def _body(self, path: str, fault: Fault | None) -> bytes:
        """What is sent with the request, which is recorded; of a cut upload only the beginning."""
        length = int(self.headers.get("Content-Length") or 0)
        is_cut = self.command == "PUT" and fault is not None and fault.cut is not None
        body = self.rfile.read(min(fault.cut, length) if is_cut else length)
        headers = {key.lower(): value for key, value in self.headers.items()}
        with self.hub.lock:
            self.hub.requests.append(Request(self.server_name, self.command, path, headers, body))
        if is_cut:
            raise _Cut
        return body

    def send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        fault = self.fault
        if fault is not None and fault.after:
            raise _Cut
        if fault is not None and fault.wrong and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        self.send_response(status)
        headers = {"Content-Length": str(len(data)), **(headers or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault is not None and fault.cut is not None:
            self.wfile.write(data[: fault.cut])
            self.wfile.flush()
            raise _Cut
        self.wfile.write(data)

    def json(self, value: Any, status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})

    def answer(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        raise NotImplementedError

    def ranged(self, data: bytes, headers: dict[str, str]) -> None:
        """The content, or the rest of it that a Range asks for."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match:
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.send(206, data[start:], headers)
        else:
            self.send(200, data, headers)


class _Storage(_Handler):
    """Where large files are: no tokens here, the address is the permission."""

    server_name = "storage"

    def answer(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        oid = path.rsplit("/", 1)[-1]
        if self.command == "PUT":
            fault = self.fault
            wrong = fault is not None and fault.wrong
            self.hub.blobs[oid] = bytes([body[0] ^ 1]) + body[1:] if wrong else body
            self.send(200, b"")
        elif oid in self.hub.blobs:
            self.ranged(self.hub.blobs[oid], {"ETag": f'"{oid}"'})
        else:
            self.send(404, b"")


class _Api(_Handler):
    """The Hub itself."""

    server_name = "hub"

    def answer(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        for method, pattern, handle in _ROUTES:
            match = re.fullmatch(pattern, path)
            if self.command in method and match:
                with self.hub.lock:
                    handle(self, query, body, **match.groupdict())
                return
        self.json({"error": "no such endpoint"}, 404)

    # --- who may what ---------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def may_write(self, owner: str | None = None) -> bool:
        if not self.known:
            message = "Invalid credentials in Authorization header"
            self.json({"error": message}, 401, X_Error_Message=message)
        elif owner not in (None, USER, "study-group"):
            self.json({"error": f"you have no rights on {owner}"}, 403)
        else:
            return True
        return False

    def repo(self, repo_id: str) -> Repo | None:
        found = self.hub.repos.get(repo_id)
        if found is None or (found.private and not self.known):
            status = 404 if self.known else 401
            self.json({"error": "Repository not found"}, status, X_Error_Code="RepoNotFound")
            return None
        return found

    def revision(self, repo: Repo, revision: str) -> str | None:
        commit = repo.resolve(revision)
        if commit is None:
            self.json({"error": "Invalid rev id"}, 404, X_Error_Code="RevisionNotFound")
        return commit

    # --- endpoints ------------------------------------------------------------------------------

    def harnesses(self, query: Any, body: bytes) -> None:
        self.json({})

    def whoami(self, query: Any, body: bytes) -> None:
        if self.may_write():
            self.json({"type": "user", "name": USER, "orgs": [{"name": "study-group"}]})

    def create(self, query: Any, body: bytes) -> None:
        asked = json.loads(body)
        owner = asked.get("organization") or USER
        if not self.may_write(owner):
            return
        repo_id = f"{owner}/{asked['name']}"
        url = {"url": f"{self.hub.url}/{repo_id}", "name": repo_id}
        if repo_id in self.hub.repos:
            self.json({"error": "You already created this model repo", **url}, 409)
            return
        private = asked.get("visibility") == "private" or asked.get("private") is True
        self.hub.make(repo_id, private=private)
        self.json(url)

    def validate(self, query: Any, body: bytes) -> None:
        front = json.loads(body)["content"].split("---\n")
        errors = []
        try:
            assert isinstance(yaml.safe_load(front[1]), dict)
        except (IndexError, AssertionError, yaml.YAMLError) as error:
            errors = [{"message": f"the metadata is not valid: {type(error).__name__}"}]
        self.json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def preupload(self, query: Any, body: bytes, repo_id: str, revision: str) -> None:
        repo = self.repo(repo_id)
        if repo is None or not self.may_write(repo_id.split("/")[0]):
            return
        modes = []
        for file in json.loads(body)["files"]:
            path, held = file["path"], repo.files.get(file["path"])
            large = path.endswith(LARGE)
            oid = None
            if held is not None:
                oid = hashlib.sha256(held).hexdigest() if large else git_sha1(held)
            mode = "lfs" if large else "regular"
            modes.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.json({"files": modes})

    def batch(self, query: Any, body: bytes, repo_id: str) -> None:
        if not self.may_write(repo_id.split("/")[0]):
            return
        objects = []
        for one in json.loads(body)["objects"]:
            entry: dict[str, Any] = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.blobs:
                entry["actions"] = {
                    "upload": {"href": f"{self.hub.storage}/lfs/{one['oid']}"},
                    "verify": {"href": f"{self.hub.url}/{repo_id}/verify"},
                }
            objects.append(entry)
        self.json({"transfer": "basic", "objects": objects})

    def verify(self, query: Any, body: bytes, repo_id: str) -> None:
        asked = json.loads(body)
        held = self.hub.blobs.get(asked["oid"])
        if held is None or len(held) != asked["size"]:
            self.json({"error": "the object did not arrive"}, 404)
        else:
            self.json({})

    def commit(self, query: Any, body: bytes, repo_id: str, revision: str) -> None:
        repo = self.repo(repo_id)
        if repo is None or not self.may_write(repo_id.split("/")[0]):
            return
        lines = [json.loads(line) for line in body.splitlines()]
        parent = lines[0]["value"].get("parentCommit")
        if parent is not None and parent != repo.head:
            self.json({"error": "A commit has happened since. Please refresh"}, 412)
            return
        files = dict(repo.files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.blobs:
                    self.json({"error": f"LFS pointer of {value['path']} has no object"}, 400)
                    return
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"])
        oid = repo.commit(files)
        self.json({"commitUrl": f"{self.hub.url}/{repo_id}/commit/{oid}", "commitOid": oid})

    def info(self, query: Any, body: bytes, repo_id: str, revision: str = "main") -> None:
        repo = self.repo(repo_id)
        commit = None if repo is None else self.revision(repo, revision)
        if repo is not None and commit is not None:
            self.json(self.described(repo, commit))

    def described(self, repo: Repo, commit: str) -> dict[str, Any]:
        card = repo.commits[commit].get("README.md", b"").decode()
        data = yaml.safe_load(card.split("---\n")[1]) if card.startswith("---\n") else {}
        return {
            "id": repo.name,
            "modelId": repo.name,
            "author": repo.name.split("/")[0],
            "sha": commit,
            "private": repo.private,
            "lastModified": DATE,
            "createdAt": DATE,
            "tags": data.get("tags", []),
            "cardData": data,
            "siblings": [{"rfilename": path} for path in repo.commits[commit]],
        }

    def tree(self, query: Any, body: bytes, repo_id: str, revision: str) -> None:
        repo = self.repo(repo_id)
        commit = None if repo is None else self.revision(repo, revision)
        if repo is None or commit is None:
            return
        listed = []
        for path, data in sorted(repo.commits[commit].items()):
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data)}
            entry["oid"] = git_sha1(data)
            if path.endswith(LARGE):
                oid = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 134}
            listed.append(entry)
        self.json(listed)

    def refs(self, query: Any, body: bytes, repo_id: str) -> None:
        repo = self.repo(repo_id)
        if repo is not None:
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.head}
            tags = [
                {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
                for name, oid in repo.tags.items()
            ]
            self.json({"branches": [branch], "converts": [], "tags": tags})

    def tag(self, query: Any, body: bytes, repo_id: str, revision: str) -> None:
        repo = self.repo(repo_id)
        if repo is None or not self.may_write(repo_id.split("/")[0]):
            return
        name, commit = json.loads(body)["tag"], self.revision(repo, revision)
        if name in repo.tags:
            self.json({"error": "Tag reference exists already"}, 409)
        elif commit is not None:
            repo.tags[name] = commit
            self.json({})

    def resolve(self, query: Any, body: bytes, repo_id: str, revision: str, path: str) -> None:
        repo = self.repo(repo_id)
        commit = None if repo is None else self.revision(repo, revision)
        if repo is None or commit is None:
            return
        data = repo.commits[commit].get(path)
        if data is None:
            self.json({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
            return
        headers = {"X-Repo-Commit": commit}
        if path.endswith(LARGE):
            oid = hashlib.sha256(data).hexdigest()
            self.hub.blobs.setdefault(oid, data)
            headers |= {"X-Linked-ETag": f'"{oid}"', "X-Linked-Size": str(len(data))}
            self.send(302, b"", {**headers, "Location": f"{self.hub.storage}/lfs/{oid}"})
        else:
            self.ranged(data, {**headers, "ETag": f'"{git_sha1(data)}"'})

    def models(self, query: dict[str, list[str]], body: bytes) -> None:
        author, wanted = query.get("author", [""])[0], set(query.get("filter", []))
        listed = [
            self.described(repo, repo.head)
            for repo in self.hub.repos.values()
            if repo.name.startswith(f"{author}/") and (self.known or not repo.private)
        ]
        self.json([one for one in listed if wanted <= set(one["tags"])])

    def collection(self, query: Any, body: bytes, slug: str) -> None:
        if slug in self.hub.collections:
            self.json(self.hub.collections[slug])
        else:
            self.json({"error": "Collection not found"}, 404)

    def list_collections(self, query: dict[str, list[str]], body: bytes) -> None:
        owner = query.get("owner", [""])[0]
        listed = [c for c in self.hub.collections.values() if c["owner"] == owner]
        short = [{**c, "items": c["items"][:4]} for c in listed]
        self.json([{k: v for k, v in c.items() if k != "position"} for c in short])

    def create_collection(self, query: Any, body: bytes) -> None:
        asked = json.loads(body)
        if not self.may_write(asked["namespace"]):
            return
        slug = f"{asked['namespace']}/{STAMP.sub('-', asked['title'].lower())}-0123456789abcdef"
        self.hub.collections[slug] = {
            "slug": slug,
            "title": asked["title"],
            "owner": asked["namespace"],
            "description": asked.get("description"),
            "private": asked["private"],
            "items": [],
            "lastUpdated": DATE,
            "position": 0,
            "theme": "blue",
            "upvotes": 0,
        }
        self.json(self.hub.collections[slug])

    def add_item(self, query: Any, body: bytes, slug: str) -> None:
        if not self.may_write(slug.split("/")[0]):
            return
        asked, held = json.loads(body), self.hub.collections[slug]
        if any(item["id"] == asked["item"]["id"] for item in held["items"]):
            self.json({"error": "the item is in already"}, 409)
            return
        position = len(held["items"])
        note = {"text": asked["note"]} if "note" in asked else None
        held["items"].append(
            {"_id": f"{position:024x}", **asked["item"], "position": position, "note": note}
        )
        self.json(held)


_REPO = r"(?P<repo_id>[\w.-]+/[\w.-]+)"
_MODEL = rf"/api/models/{_REPO}"
_ROUTES: tuple[tuple[tuple[str, ...], str, Callable[..., None]], ...] = (
    (("GET",), r"/api/agent-harnesses", _Api.harnesses),
    (("GET",), r"/api/whoami-v2", _Api.whoami),
    (("POST",), r"/api/repos/create", _Api.create),
    (("POST",), r"/api/validate-yaml", _Api.validate),
    (("GET",), r"/api/models", _Api.models),
    (("POST",), rf"{_MODEL}/preupload/(?P<revision>.+)", _Api.preupload),
    (("POST",), rf"{_MODEL}/commit/(?P<revision>.+)", _Api.commit),
    (("POST",), rf"{_MODEL}/tag/(?P<revision>.+)", _Api.tag),
    (("GET",), rf"{_MODEL}/refs", _Api.refs),
    (("GET",), rf"{_MODEL}/tree/(?P<revision>[^/]+)/?", _Api.tree),
    (("GET",), rf"{_MODEL}/revision/(?P<revision>.+)", _Api.info),
    (("GET",), _MODEL, _Api.info),
    (("POST",), rf"/{_REPO}\.git/info/lfs/objects/batch", _Api.batch),
    (("POST",), rf"/{_REPO}/verify", _Api.verify),
    (("GET", "HEAD"), rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Api.resolve),
    (("GET",), r"/api/collections", _Api.list_collections),
    (("POST",), r"/api/collections", _Api.create_collection),
    (("POST",), r"/api/collections/(?P<slug>.+)/items", _Api.add_item),
    (("GET",), r"/api/collections/(?P<slug>.+)", _Api.collection),
)
