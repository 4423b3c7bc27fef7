"""The table of requests by flow, and the lines of CLIENTS.md §5, each covered by rows here or by the named test."""

from . import account, admin, library, made, pictures, privacy, references, videos, ways

FLOWS = (account.FLOW, *pictures.FLOWS, *videos.FLOWS, library.FLOW, *ways.FLOWS, references.FLOW, admin.FLOW, privacy.FLOW)

__all__ = ["FLOWS", "LINES", "made"]
HERE = "tests/clients/test_database.py"
LINES = {
    "migrate": f"{HERE}::test_migrate",
    "migrate, policies": f"{HERE}::test_policies",
    "sign-up": "",
    "any job": f"{HERE}::test_any_job",
    "import, waiting SDXL": f"{HERE}::test_waiting_sdxl",
    "INSERT jobs, sdxl": "",
    "Redis, sdxl": "",
    "image7b, num_images 3/6": "",
    "Wan with references": "",
    "`blob:` reference": "",
    "POST images": "",
    "images after the end": "",
    "jobs by rpc": "",
    "PATCH jobs {image_id}": "",
    "POST videos": "",
    "video_url": "",
    "`jobs!jobs_*_fkey`": "",
    "DELETE jobs, PATCH {status}": "",
    "POST projects, characters": "",
    "enhance-prompt": "",
    "admin pages": "",
    "erasure": f"{HERE}::test_erasure",
    "dev storage": "",
}
