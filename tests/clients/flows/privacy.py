"""Nobody reaches another user's image: every path that the libraries offer, tried by another user and anonymously."""

from __future__ import annotations

from ..actions import make
from ..calls import Call, bucket, from_, rpc, storage
from ..table import SOMETHING, Do, Flow, Row
from .wire import image_row, insert, queue

TYPE = "sdxl_image_high"
PATH, ELSEWHERE = "$mine.image_url", "${other.id}/stolen.png"
FILE = {"file64": "aGVsbG8=", "type": "image/png"}
PNG = {"contentType": "image/png"}


def nothing(found: object) -> bool:
    """No row, no file, no name."""
    return found in (None, [], {"bytes": 0})


READS: dict[str, tuple[Call, object]] = {
    "images by id": (from_("images").select("*").eq("id", "$image.id"), []),
    "images by job": (from_("images").select("*").eq("job_id", "$made.job.id"), []),
    "jobs by id": (from_("jobs").select("*").eq("id", "$made.job.id"), []),
    "artifacts": (from_("artifacts").select("*").eq("job_id", "$made.job.id"), []),
    "prompts": (from_("job_payloads").select("job_id,prompt").eq("job_id", "$made.job.id"), []),
    "events": (from_("job_events").select("*").eq("job_id", "$made.job.id"), []),
    "usage": (from_("usage_logs").select("*").eq("user_id", "$user.id"), []),
    "projects": (from_("projects").select("*").eq("user_id", "$user.id"), []),
    "activity": (from_("user_activity_log").select("*").eq("user_id", "$user.id"), []),
    "list a bucket": (bucket(TYPE).list(), nothing),
    "list the folder": (bucket(TYPE).list("${user.id}"), nothing),
    "list the job's folder": (bucket(TYPE).list("${user.id}/${made.job.id}"), nothing),
    "remove": (bucket(TYPE).remove([PATH]), nothing),
    "delete the row": (from_("images").delete().eq("id", "$image.id").select("id"), []),
    "rename the row": (from_("images").update({"title": "mine"}).eq("id", "$image.id").select("id"), []),
    "delete the job": (from_("jobs").delete().eq("id", "$made.job.id").select("id"), []),
}  # answered with an empty result
DEEDS: dict[str, Call] = {
    "sign": bucket(TYPE).createSignedUrl(PATH, 3600),
    "download": bucket(TYPE).download(PATH),
    "copy": bucket(TYPE).copy(PATH, ELSEWHERE),
    "move": bucket(TYPE).move(PATH, ELSEWHERE),
    "write over": bucket(TYPE).upload(PATH, FILE, {**PNG, "upsert": True}),
    "write beside": bucket(TYPE).upload("${user.id}/${made.job.id}/planted.png", FILE, PNG),
    "upload by a signed URL": bucket(TYPE).createSignedUploadUrl("${user.id}/planted.png"),
    "status": rpc("job_status", job_id="$made.job.id"),
    "cancel": rpc("cancel_job", job_id="$made.job.id"),
    "retry": rpc("retry_job", job_id="$made.job.id"),
    "a bucket made public": storage.updateBucket(TYPE, {"public": True}),
    "an images row in their name": insert("images", image_row(TYPE, "$made.job.id", 7)),
    "a picture of one's own from it": queue(
        "sdxl_image_high", reference_image=True, reference_strength=0.9, reference_type="style",
        reference_url=f"{TYPE}/${{mine.image_url}}", reference_image_url=f"{TYPE}/${{mine.image_url}}",
    ),
}  # fmt: skip
STANDS = {
    "the object stands": "select count(*) = 1 from public.artifacts where job_id = '${made.job.id}' and kind = 'image'"
    " and deleted_at is null",
    "the row stands": "select title is distinct from 'mine' from public.images where id = '${image.id}'",
}

FLOW = Flow("privacy", (
    Row("privacy: a picture", "user", queue(TYPE), saves="made"),
    Row("privacy: its row", "user", insert("images", image_row(TYPE, "$made.job.id", 0)), saves="image"),
    Do("an executor makes it", make, ("$made.job.id",)),
    Row("privacy: its owner sees it", "user", from_("images").select("*").eq("id", "$image.id").single(), {"image_url": SOMETHING},
        saves="mine"),
    *(Row(f"privacy: {who}, {what}", who, call, gives, then=STANDS, silent=True)
      for who in ("other", "anon") for what, (call, gives) in READS.items()),
    *(Row(f"privacy: {who}, {what}", who, call, refused=SOMETHING,
    then=STANDS) for who in ("other", "anon") for what, call in DEEDS.items()),
    Row("privacy: the owner still loads it", "user", bucket(TYPE).download(PATH), {"bytes": int}),
    Row("privacy: the owner writes over nothing", "user", bucket(TYPE).upload(PATH, FILE, {**PNG, "upsert": True}), refused=SOMETHING),
    Row("privacy: the service key sees it", "service", from_("images").select("id").eq("id", "$image.id").single(), {"id": "$image.id"}),
    Row("privacy: the service key signs it", "service", bucket(TYPE).createSignedUrl(PATH, 60), {"signedUrl": SOMETHING}),
))  # fmt: skip
