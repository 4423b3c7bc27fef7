"""Generated documentation pages match the code."""

from tools import docs


def test_pages_are_current() -> None:
    stale = [path.name for path, text in docs.pages() if not path.exists() or path.read_text() != text]
    assert not stale, f"run `make docs`: {', '.join(stale)}"
