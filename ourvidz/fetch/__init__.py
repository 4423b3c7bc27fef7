"""Fetch a picture from a user's URL, from the public internet only (docs/decisions/0019)."""

from ourvidz.fetch.fetcher import LIMITS, Fetcher, Limits, fetch
from ourvidz.fetch.target import FetchError, FetchRefused, FetchUnavailable

__all__ = ["LIMITS", "FetchError", "FetchRefused", "FetchUnavailable", "Fetcher", "Limits", "fetch"]
