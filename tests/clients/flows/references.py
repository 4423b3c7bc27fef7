"""References as the workspace sends them: a tile's signed URL, an upload's `blob:` address, a clip's first and last frame."""

from __future__ import annotations

from ..actions import made_of, make, picture
from ..calls import bucket
from ..table import SOMETHING, Do, Flow, Row
from .wire import queue, queued

STYLE = {"reference_image": True, "reference_strength": 0.85, "reference_type": "style", "character_consistency": False}
CHARACTER = {"reference_image": True, "reference_strength": 0.85, "reference_type": "character"}
UPLOADED = "${user.id}/1751889600000-ref.png"

FLOW = Flow("references", (
    Do("a picture on the user's disk", picture, saves="file"),
    Row("reference: upload", "user", bucket("reference_images").upload(UPLOADED, "$file", {"contentType": "image/png"}),
        {"path": UPLOADED}),
    Row("reference: not written over", "user", bucket("reference_images").upload(UPLOADED, "$file", {"contentType": "image/png"}),
        refused=409, line="dev storage"),
    Row("reference: not into another's folder", "user",
        bucket("reference_images").upload("${other.id}/1751889600000-ref.png", "$file", {"contentType": "image/png"}), refused=403),
    Row("reference: signed", "user", bucket("reference_images").createSignedUrl(UPLOADED, 3600), {"signedUrl": SOMETHING}, saves="tile"),
    Row("reference of a picture: a tile", "user",
        queue("sdxl_image_high", **STYLE, reference_url="$tile.signedUrl", reference_source="workspace",
        reference_image_url="$tile.signedUrl"),
        queued("sdxl_image_high"), saves="styled", line="`blob:` reference"),
    Do("it is the object that the URL names", made_of, ("$styled.job.id", {"style": f"reference_images/{UPLOADED}"})),
    Row("reference of a picture: blob", "user",
        queue("sdxl_image_fast", **STYLE, reference_url="blob:https://ourvidz.example/6d5c", reference_source="upload",
              reference_image_url="blob:https://ourvidz.example/6d5c"),
        queued("sdxl_image_fast"), saves="blobbed", line="`blob:` reference"),
    Do("it is the newest upload", made_of, ("$blobbed.job.id", {"style": f"reference_images/{UPLOADED}"})),
    Row("reference of a Wan picture", "user",
        queue("image7b_fast_enhanced", **CHARACTER, reference_url="$tile.signedUrl", reference_image_url="$tile.signedUrl"),
        queued("image7b_fast_enhanced"), saves="wan", line="Wan with references"),
    Row("reference of a clip: start", "user",
        queue("video_fast", **CHARACTER, start_reference_url="$tile.signedUrl", start_reference_source="workspace",
              reference_image_url="$tile.signedUrl"),
        queued("video_fast"), saves="first", line="Wan with references"),
    Do("its first frame, and no single one", made_of, ("$first.job.id", {"first_frame": f"reference_images/{UPLOADED}"})),
    Row("reference of a clip: end", "user",
        queue("video_high", **CHARACTER, end_reference_url="$tile.signedUrl", end_reference_source="workspace",
              reference_image_url="$tile.signedUrl"),
        queued("video_high"), saves="last", line="Wan with references"),
    Do("its last frame, and no single one", made_of, ("$last.job.id", {"last_frame": f"reference_images/{UPLOADED}"})),
    Row("reference of a clip: both", "user",
        queue("video7b_fast_enhanced", **CHARACTER, start_reference_url="$tile.signedUrl", end_reference_url="$tile.signedUrl",
              reference_image_url="$tile.signedUrl"),
        queued("video7b_fast_enhanced"), saves="both", line="Wan with references"),
    Do("its two ends", made_of, ("$both.job.id", {"first_frame": f"reference_images/{UPLOADED}",
                                                  "last_frame": f"reference_images/{UPLOADED}"})),
    Row("reference: what was set aside", "user", queue("video_fast", 6, seed=7), queued("video_fast"), saves="six"),
    Do("executors make them all", make, ("$six.job.id",)),
))  # fmt: skip
