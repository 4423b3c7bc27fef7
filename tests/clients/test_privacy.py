"""After a production database was migrated: whatever PostgREST offers, read whole by somebody else, holds nothing of a user's picture."""

from __future__ import annotations

import httpx
import pytest
from older import ANNA, CLARA
from waiting import LIMIT

from .house import House

# Text of ANNA's that only her rows hold: of the older system, and of a job made since.
OLDER = ("a quiet harbour, number 3", "sdxl_old_0.png", "a pier in fog")


def everything(house: House, token: str) -> dict[str, str]:
    """Each relation that PostgREST offers to this caller, as one text."""
    headers = {"apikey": house.project.anon_key, "Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=house.project.url, headers=headers, timeout=LIMIT) as client:
        # As the service: the list of relations must not depend on who may read them.
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
def test_no_relation_shows_anothers_words_or_paths(house: House, tokens: dict[str, str], who: str) -> None:
    seen = everything(house, tokens[who])
    for name, text in seen.items():
        assert not [word for word in (ANNA, *OLDER) if word in text], name


@pytest.mark.parametrize("house", ["production"], indirect=True)
def test_their_owner_sees_them(house: House, tokens: dict[str, str]) -> None:
    """Else the test above would pass on an empty database."""
    seen = "".join(everything(house, tokens["owner"]).values())
    assert not [word for word in OLDER if word not in seen]
