"""After migrating a production database: everything PostgREST exposes, read by another user, contains nothing of a user's images."""

from __future__ import annotations

import httpx
import pytest
from production_copy import ANNA, CLARA
from waiting import LIMIT

from .client_site import House

# Text found only in ANNA's rows: legacy rows, and a job made since.
OLDER = ("a quiet harbour, number 3", "sdxl_old_0.png", "a pier in fog")


def everything(house: House, token: str) -> dict[str, str]:
    """The full content of each relation that PostgREST exposes to this caller."""
    headers = {"apikey": house.project.anon_key, "Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=house.project.url, headers=headers, timeout=LIMIT) as client:
        # As the service role: the list of relations must not depend on who may read them.
        listing = client.get(
            "/rest/v1/", headers={"apikey": house.project.service_key, "Authorization": f"Bearer {house.project.service_key}"}
        )
        names = [path[1:] for path in listing.json()["paths"] if path != "/" and not path.startswith("/rpc/")]
        assert {"images", "jobs", "profiles", "user_roles"} <= set(names)
        return {name: client.get(f"/rest/v1/{name}").text for name in names}


@pytest.fixture
def tokens(house: House) -> dict[str, str]:
    secret = house.project.secret
    return {"owner": secret.user(ANNA), "other": secret.user(CLARA), "anon": house.project.anon_key}


@pytest.mark.parametrize("house", ["production"], indirect=True)
@pytest.mark.parametrize("who", ["other", "anon"])
def test_no_relation_shows_another_users_text_or_paths(house: House, tokens: dict[str, str], who: str) -> None:
    seen = everything(house, tokens[who])
    for name, text in seen.items():
        assert not [word for word in (ANNA, *OLDER) if word in text], name


@pytest.mark.parametrize("house", ["production"], indirect=True)
def test_the_owner_sees_their_own(house: House, tokens: dict[str, str]) -> None:
    """Otherwise the test above would pass on an empty database."""
    seen = "".join(everything(house, tokens["owner"]).values())
    assert not [word for word in OLDER if word not in seen]
