"""/admin for a user with the admin role in app_metadata, and for anybody else."""

from __future__ import annotations

from ..actions import make
from ..calls import auth, from_
from ..table import SOMETHING, Do, Flow, Row
from .library import HEAD, some
from .wire import PROMPT, function, image_row, insert, queue

NEWEST = {"ascending": False}
TEST = {"prompt": PROMPT, "test_series": "lighthouses", "test_tier": "artistic", "created_from": "admin_prompt_testing",
        "prompt_test_metadata": {"series": "lighthouses"}, "prompt_test_id": None, "queue": "wan_queue"}  # fmt: skip
RESULT = {"job_id": "$tested.job.id", "prompt_text": PROMPT, "model_type": "WAN", "test_series": "lighthouses", "test_tier": "artistic",
          "success": True, "test_metadata": {"from": "admin"}}  # fmt: skip
SAVED = {"config": {"gpu": "on"}, "updated_at": "2025-07-07T12:00:00Z"}

FLOW = Flow("admin", (
    Row("admin: a user's picture", "user", queue("sdxl_image_fast"), saves="made"),
    Row("admin: its row", "user", insert("images", image_row("sdxl_image_fast", "$made.job.id", 0)), saves="image"),
    Row("admin: activity", "admin", from_("user_activity_log").select("*").order("created_at", NEWEST).limit(10), some(0),
        line="admin pages"),
    Row("admin: profiles", "admin", from_("profiles").select("id"), some(3), line="admin pages"),
    Row("admin: profiles, by anybody else", "user", from_("profiles").select("id"), [{"id": "$user.id"}]),
    Row("admin: jobs", "admin", from_("jobs").select("*").order("created_at", NEWEST).limit(500), some(1), line="admin pages"),
    Row("admin: a user's job", "admin", from_("jobs").select("id,job_type").eq("user_id", "$user.id").eq("id", "$made.job.id"),
        [{"job_type": "sdxl_image_fast"}]),
    Row("admin: a user's images", "admin", from_("images").select("id,file_size").eq("user_id", "$user.id").eq("id", "$image.id"), some(1)),
    Row("admin: moderate", "admin",
        from_("images").update({"moderation_status": "approved", "reviewed_at": "2025-07-07T12:00:00Z", "review_notes": "fine"})
        .eq("id", "$image.id"), then={"kept": "select moderation_status = 'approved' from public.images where id = '${image.id}'"}),
    Row("admin: moderate, by its owner", "user", from_("images").update({"moderation_status": "rejected"}).eq("id", "$image.id"),
        refused="42501"),
    Row("admin: health checks", "admin", from_("jobs").select("id").eq("metadata->>healthCheck", "true"), some(0)),
    Row("admin: a job ended by its status", "admin", from_("jobs").update({"status": "cancelled"}).eq("id", "$made.job.id"),
        then={"cancelled": "select status = 'cancelled' from public.jobs where id = '${made.job.id}'"}),
    Row("admin: jobs deleted", "admin", from_("jobs").delete().in_("id", ["$made.job.id"]),
        then={"hidden": "select hidden from public.jobs where id = '${made.job.id}'"}, line="DELETE jobs, PATCH {status}"),
    Row("admin: test, queue-job", "admin", function("queue-job", {"jobType": "image_high", "metadata": TEST}),
        {"success": True, "job": {"id": str}}, saves="tested"),
    Row("admin: test, its result", "admin", from_("model_test_results").insert(RESULT).select("*").single(), {"id": str}, saves="result",
        line="admin pages"),
    Do("an executor makes it", make, ("$tested.job.id",)),
    Row("admin: test, made", "admin", from_("jobs").select("status").eq("id", "$tested.job.id").single(),
        {"status": "completed"}, until=True),
    Row("admin: tests", "admin", from_("model_test_results").select("*").order("created_at", NEWEST), some(1)),
    Row("admin: test, rated", "admin", from_("model_test_results").update({"overall_quality": 8, "notes": "crisp"}).eq("id", "$result.id"),
        then={"kept": "select overall_quality = 8 from public.model_test_results where id = '${result.id}'"}),
    Row("admin: tests, by anybody else", "user", from_("model_test_results").select("*"), [], silent=True),
    Row("admin: images counted", "admin", from_("images").select("id", HEAD).eq("user_id", "$user.id"), count=int),
    Row("admin: config", "admin", from_("system_config").upsert({"id": 1, **SAVED}),
        then={"kept": "select config @> '{\"gpu\": \"on\"}' from public.system_config"}),
    Row("admin: config read", "admin", from_("system_config").select("*").single(), {"config": {"gpu": "on"}}),
    Row("admin: config, by anybody else", "user", from_("system_config").upsert({"id": 1, **SAVED}), refused="42501"),
    Row("admin: listUsers with a service key", "service", auth.admin.listUsers(), SOMETHING),
))  # fmt: skip
