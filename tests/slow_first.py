"""Start the longest test files first, so that the suite does not end with one process at a long file while the others idle."""

from __future__ import annotations

from pathlib import Path

import pytest

SECONDS = {
    "executors/test_crashes.py": 44,
    "executors/test_up.py": 39,
    "executors/test_chaos.py": 25,
    "cli/test_demo.py": 31,
    "cli/test_stats_and_audit.py": 38,
    "clients/test_contract.py": 37,
    "test_bench.py": 26,
    "executors/test_up_enhancer.py": 24,
    "cli/test_convert_command.py": 23,
    "db/test_restored.py": 21,
    "models/test_exact.py": 12,
    "test_bench_gpu.py": 19,
    "models/test_sdxl.py": 19,
    "executors/test_all_submit_paths.py": 19,
    "models/test_convert.py": 11,
    "clients/test_storm.py": 17,
    "executors/test_enhancer.py": 17,
    "models/test_residency.py": 14,
    "cli/test_jobs.py": 15,
    "test_screen.py": 15,
    "executors/test_enhancer_command.py": 14,
    "db/test_many_rows.py": 14,
    "security/test_terminal.py": 13,
    "security/test_files.py": 13,
    "security/test_memory.py": 13,
    "models/test_profiles.py": 13,
    "security/test_canonical_text.py": 13,
    "executors/test_cancel.py": 12,
    "executors/test_warm.py": 12,
    "models/test_shared_passes.py": 12,
    "executors/test_refusals.py": 12,
    "cli/test_pull_command.py": 12,
    "edge/test_end_to_end.py": 12,
    "db/test_fairness.py": 11,
    "executors/test_drain.py": 11,
    "cli/test_submit_command.py": 11,
    "cli/test_safety.py": 11,
    "executors/test_remote_enhancer.py": 11,
    "executors/test_image_screen_in_jobs.py": 11,
    "cutover/test_rehearsal.py": 11,
    "intake/test_drainer_killed.py": 11,
    "models/test_hostile_files.py": 10,
    "db/test_migration_locks.py": 10,
    "db/test_migrate_sql_file.py": 10,
    "cli/test_provenance_command.py": 10,
    "db/test_storage_policies.py": 10,
    "contract/test_broken_uploads.py": 10,
    "cutover/test_rollback.py": 10,
    "executors/test_overlap.py": 10,
    "test_embedded.py": 10,
    "delivery/test_deliverer.py": 10,
    "cli/test_deliver_command.py": 9,
    "models/test_encoding.py": 9,
    "cli/test_dev.py": 9,
}
"""Measured seconds of CPU, listed from nine upwards. They affect only the order: an outdated figure costs time, nothing else."""

_TESTS = Path(__file__).parent


def first(items: list[pytest.Item]) -> None:
    """Move the files of SECONDS to the front, longest first; the rest keeps its order."""
    items.sort(key=lambda item: -SECONDS.get(item.path.relative_to(_TESTS).as_posix(), 0))
