"""The byte bar: what it shows, and that it follows what is really sent and received."""

from __future__ import annotations

import io

import pytest
from hub_server import USER, Hub, point_client_at
from rich.console import Console

from diger.hub import local_path, progress, publish
from diger.hub.upload import CountingReader, addition


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    screen = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda **_: Console(file=screen, force_terminal=True, width=100)
    )
    return screen


def test_the_bar_shows_bytes_and_time_left(terminal):
    with progress.byte_bar("sending ann/demo", 4_000_000) as advance:
        advance(1_000_000)
        advance(2_000_000)
    shown = terminal.getvalue()
    assert "sending ann/demo" in shown and "3.0/4.0 MB" in shown and "-:--:--" in shown


def test_the_bar_is_silent_elsewhere(capsys):
    with progress.byte_bar("sending ann/demo", 10) as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


def test_a_reader_counts_back_when_it_is_read_again():
    done = []
    reader = CountingReader(b"0123456789", done.append)
    assert reader.read(4) == b"0123" and sum(done) == 4
    reader.seek(0)
    assert sum(done) == 0
    reader.seek(0, io.SEEK_END)
    assert reader.seek(0) == 0 and sum(done) == 0
    assert reader.read() == b"0123456789" and sum(done) == 10


def test_only_what_is_sent_is_counted():
    done = []
    operation = addition("a.bin", b"0123456789", done.append)
    with operation.as_file() as file:
        file.read()
    assert operation.upload_info.size == 10 and done == []
    with operation.as_file(with_tqdm=True) as file:
        file.read()
    assert sum(done) == 10


def test_the_bar_follows_both_ways(tmp_path, monkeypatch):
    import bundle_toys

    moved: dict[str, list[int]] = {}
    real = progress.byte_bar

    def watched(what: str, total: int):
        moved[what] = [total]
        bar = real(what, total)

        class Watched:
            def __enter__(self):
                advance = bar.__enter__()

                def count(n: int) -> None:
                    moved[what].append(n)
                    advance(n)

                return count

            def __exit__(self, *error):
                return bar.__exit__(*error)

        return Watched()

    for module in ("publishing", "download"):
        monkeypatch.setattr(f"diger.hub.{module}.byte_bar", watched)
    repo = f"{USER}/toys"
    with Hub() as hub:
        point_client_at(hub.url, tmp_path / "home", monkeypatch)
        publish(bundle_toys.write_bundle(tmp_path / "one"), repo)
        hub.fail("GET /lfs/", cut=50)
        local_path(f"hub://{repo}", say=lambda _: None)
        files = hub.repos[repo].files
    large = sum(len(d) for n, d in files.items() if n.endswith((".parquet", ".safetensors", "svg")))
    total, *sent = moved[f"sending {repo}"]
    assert sum(sent) == large and total == sum(map(len, files.values())) - len(
        files[".gitattributes"]
    )
    total, *received = moved[f"fetching hub://{repo}"]
    assert sum(received) == total
