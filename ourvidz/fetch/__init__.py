"""Fetches a picture that a user points at, from anywhere on the public internet and from nowhere else (docs/decisions/0019)."""

from ourvidz.fetch.fetcher import LIMITS, Fetcher, Limits, fetch
from ourvidz.fetch.target import FetchError, FetchRefused, FetchUnavailable

__all__ = ["LIMITS", "FetchError", "FetchRefused", "FetchUnavailable", "Fetcher", "Limits", "fetch"]
