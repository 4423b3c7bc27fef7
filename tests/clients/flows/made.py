"""The same flows with an executor that runs (tiny) models, instead of one that only goes through the lifecycle."""

from __future__ import annotations

from ourvidz.safety.consent import VERSION

from ..actions import picture as a_picture
from ..actions import sha256_of, working
from ..calls import bucket, rpc
from ..table import SOMETHING, Do, Flow, Row
from .pictures import sdxl, wan
from .videos import video

UPLOADED = "${user.id}/1751889600001-ref.png"
REFERENCE = {"reference_image": True, "reference_strength": 0.85, "reference_type": "character", "start_reference_url": "$tile.signedUrl",
             "start_reference_source": "workspace", "reference_image_url": "$tile.signedUrl"}  # fmt: skip
UPLOAD = (
    Do("a picture on the user's disk", a_picture, saves="file"),
    Row("made: reference uploaded", "user", bucket("reference_images").upload(UPLOADED, "$file", {"contentType": "image/png"})),
    Row(
        "made: reference signed", "user", bucket("reference_images").createSignedUrl(UPLOADED, 3600), {"signedUrl": SOMETHING}, saves="tile"
    ),
    Do("its bytes", sha256_of, ("$file",), saves="sha"),
    # Never requested by the legacy front end, but by its replacement page (docs/decisions/0033).
    Row("made: consent attested", "user", rpc("attest_consent", sha256="$sha", statement_version=VERSION)),
)

FLOWS = (
    sdxl("sdxl_image_fast", 3, by=working),
    wan("image7b_fast_enhanced", by=working),
    Flow("made: a clip from a picture", (*UPLOAD, *video("video_fast", by=working, **REFERENCE).rows)),
)
