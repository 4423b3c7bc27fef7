"""/library, /library-v2 and the import dialog: lists, counts, and deletion of storage object, row and job in turn."""

from __future__ import annotations

from ..actions import make
from ..calls import bucket, from_
from ..table import SOMETHING, Do, Flow, Row
from .wire import (
    LIBRARY_2_IMAGES,
    LIBRARY_2_VIDEOS,
    LIBRARY_IMAGES,
    LIBRARY_VIDEOS,
    PROMPT,
    image_row,
    insert,
    newest,
    queue,
    video_row,
)

HEAD = {"count": "exact", "head": True}
PICTURE, CLIP = "sdxl_image_high", "video_fast"


def some(count: int):  # type: ignore[no-untyped-def]
    def at_least(found: object) -> bool:
        return isinstance(found, list) and len(found) >= count

    return at_least


FLOW = Flow("library", (
    Row("library: a picture", "user", queue(PICTURE), saves="made"),
    Row("library: its row", "user", insert("images", image_row(PICTURE, "$made.job.id", 0)), saves="image"),
    Row("library: its link", "user", from_("jobs").update({"image_id": "$image.id"}).eq("id", "$made.job.id")),
    Row("library: a clip", "user", queue(CLIP), saves="filmed"),
    Row("library: its row of videos", "user", insert("videos", video_row(CLIP)), saves="video"),
    Row("library: its link of videos", "user", from_("jobs").update({"video_id": "$video.id"}).eq("id", "$filmed.job.id")),
    Do("an executor makes the picture", make, ("$made.job.id",)),
    Do("an executor makes the clip", make, ("$filmed.job.id",)),
    Row("library: images", "user", newest("images", LIBRARY_IMAGES).limit(20), some(1)),
    Row("library: the picture's bucket", "user", from_("images").select(LIBRARY_IMAGES).eq("id", "$image.id").single(),
        {"status": "completed", "metadata": {"bucket": PICTURE, "is_sdxl": True}, "job_id": "$made.job.id", "image_url": SOMETHING},
        saves="picture", line="jobs by rpc"),
    Row("library: the picture signed", "user", bucket(PICTURE).createSignedUrl("$picture.image_url", 3600), {"signedUrl": SOMETHING}),
    Row("library: many signed at once", "user", bucket(PICTURE).createSignedUrls(["$picture.image_url", "$picture.thumbnail_url"], 3600),
        [{"signedURL": SOMETHING}, {"signedURL": SOMETHING}], line="dev storage"),
    Row("library: videos", "user", newest("videos", LIBRARY_VIDEOS).limit(20), some(1)),
    Row("library: the clip", "user", from_("videos").select(LIBRARY_VIDEOS).eq("id", "$video.id").single(),
        {"status": "completed", "metadata": {"bucket": CLIP}, "video_url": SOMETHING}, saves="clip"),
    Row("library: images counted", "user", from_("images").select("id", HEAD).eq("id", "$image.id"), count=1),
    Row("library: videos counted", "user", from_("videos").select("id", HEAD).eq("id", "$video.id"), count=1),
    Row("library-v2: images", "user",
        newest("images", LIBRARY_2_IMAGES).eq("status", "completed").ilike("prompt", "%lighthouse%").limit(100), some(1)),
    Row("library-v2: no such words", "user", newest("images", LIBRARY_2_IMAGES).ilike("prompt", "%submarine%").limit(100), []),
    Row("library-v2: videos", "user", newest("videos", LIBRARY_2_VIDEOS).eq("status", "completed").limit(100), some(1)),
    Row("import dialog", "user", newest("images", "id,title,prompt,image_url,metadata,quality,created_at")
        .eq("status", "completed").limit(50),
        some(1)),
    # The library's delete: four requests; the screen ignores the results for storage and jobs.
    Row("library delete: asks", "user", from_("images").select("id,image_url,metadata,job_id").eq("id", "$image.id").single(),
        {"job_id": "$made.job.id"}),
    Row("library delete: the object", "user", bucket(PICTURE).remove(["$picture.image_url"])),
    Row("library delete: the row", "user", from_("images").delete().eq("id", "$image.id")),
    Row("library delete: the job's images", "user", from_("images").select("id", HEAD).eq("job_id", "$made.job.id"), count=0),
    Row("library delete: the job", "user", from_("jobs").delete().eq("id", "$made.job.id"),
        then={"it is still there": "select hidden from public.jobs where id = '${made.job.id}'"}, line="DELETE jobs, PATCH {status}"),
    Row("library delete: no such job", "user", from_("jobs").select("id").eq("id", "$made.job.id"), []),
    Row("library delete: a clip's object", "user", bucket(CLIP).remove(["$clip.video_url"])),
    Row("library delete: a clip's row", "user", from_("videos").delete().eq("id", "$video.id")),
    Row("library delete: a clip's job", "user", from_("jobs").delete().eq("id", "$filmed.job.id"),
        then={"nothing of it can be read": "select count(*) = 0 from public.artifacts where job_id = '${filmed.job.id}'"
                                           " and deleted_at is null and kind = 'video'"}),
    # Writes of the other screens.
    Row("projects: insert", "user", from_("projects").insert({"user_id": "$user.id", "original_prompt": PROMPT, "title": "Coast"})
        .select("*").single(), {"id": str, "media_type": "image", "workflow_step": SOMETHING}, saves="project",
        line="POST projects, characters"),
    Row("characters: insert", "user", from_("characters").insert({"user_id": "$user.id", "name": "Ada"}).select("*").single(),
        {"id": str, "description": ""}, line="POST projects, characters"),
    Row("projects: a picture's project", "user",
        from_("images").insert({"user_id": "$user.id", "prompt": PROMPT, "project_id": "$project.id", "status": "queued"})
        .select("*").single(),
        saves="drawn"),
    Row("projects: its title beside the picture", "user",
        from_("images").select("*,project:projects(title)").eq("user_id", "$user.id")
        .in_("id", ["$drawn.id"]), [{"project": {"title": "Coast"}}]),
))  # fmt: skip
