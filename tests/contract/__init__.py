import pytest

# The suites are imported, not collected, so pytest must be told to explain their asserts too.
pytest.register_assert_rewrite(f"{__name__}.artifact_store")
