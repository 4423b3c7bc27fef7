import pytest

# The suites are imported, not collected, so pytest must be told to rewrite their asserts.
pytest.register_assert_rewrite(f"{__name__}.artifact_store")
