"""The Supabase adapter against the contract, and what only a server at the end of a line can do to it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from storage_site import Face

from ourvidz.storage.base import BucketLimit
from ourvidz.storage.supabase import SupabaseStorage

from .artifact_store import ArtifactStoreContract, StoreFactory


class TestSupabaseStorage(ArtifactStoreContract):
    @pytest.fixture
    def store_factory(self, face: Face) -> StoreFactory:
        def make(buckets: Mapping[str, BucketLimit]) -> SupabaseStorage:
            return face.store(buckets)

        return make
