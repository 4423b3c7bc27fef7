"""/auth, and the profile that every page requests."""

from ..calls import auth, from_
from ..table import SOMETHING, Flow, Row

PROFILE = "id,username,subscription_status,token_balance,created_at,updated_at"
ACCOUNT = {"email": "${lib.visitor}", "password": "correct horse battery staple"}
WRONG = {"email": "${lib.visitor}", "password": "guessed"}
NAMESAKE = {"email": "${lib.namesake}", "password": "correct horse battery staple"}

FLOW = Flow("account", (
    Row("auth: sign up", "visitor", auth.signUp(ACCOUNT), {"user": {"id": SOMETHING, "email": "$lib.visitor"}}, saves="visitor",
        line="sign-up"),
    Row("auth: a wrong password", "anon", auth.signInWithPassword(WRONG), refused="invalid_credentials"),
    Row("auth: sign in", "visitor", auth.signInWithPassword(ACCOUNT), {"session": {"access_token": SOMETHING, "refresh_token": SOMETHING}}),
    Row("auth: session", "visitor", auth.getSession(), {"session": {"access_token": SOMETHING}}),
    Row("auth: refresh", "visitor", auth.refreshSession(), {"session": {"access_token": SOMETHING}, "user": {"id": "$visitor.user.id"}}),
    Row("auth: user", "visitor", auth.getUser(), {"user": {"id": "$visitor.user.id", "email": "$lib.visitor"}}),
    Row("profile", "visitor", from_("profiles").select(PROFILE).eq("id", "$visitor.user.id").single(),
        {"id": "$visitor.user.id", "username": SOMETHING, "subscription_status": "inactive", "token_balance": int,
         "updated_at": SOMETHING}),
    Row("profile: nobody else's", "visitor", from_("profiles").select(PROFILE).eq("id", "$user.id").single(), refused="PGRST116"),
    Row("roles: no admin", "visitor", from_("user_roles").select("role").eq("user_id", "$visitor.user.id").eq("role", "admin").single(),
        refused="PGRST116"),
    Row("roles: an admin", "admin", from_("user_roles").select("role").eq("user_id", "$admin.id").eq("role", "admin").single(),
        {"role": "admin"}, line="admin pages"),
    Row("roles: nobody makes themselves admin", "visitor", from_("user_roles").insert({"user_id": "$visitor.user.id", "role": "admin"}),
        refused="42501"),
    Row("profile: nobody verifies themselves", "visitor", from_("profiles").update({"age_verified": True}).eq("id", "$visitor.user.id"),
        refused="42501"),
    Row("profile: nobody gives themselves tokens", "visitor",
        from_("profiles").update({"token_balance": 10_000}).eq("id", "$visitor.user.id"), refused="42501"),
    # In production a second user with the same local part got no profile, and every page failed for them.
    Row("auth: sign up, a namesake", "namesake", auth.signUp(NAMESAKE), {"user": {"id": SOMETHING}}, saves="namesake", line="sign-up"),
    Row("auth: sign in, a namesake", "namesake", auth.signInWithPassword(NAMESAKE), {"session": {"access_token": SOMETHING}}),
    Row("profile: a namesake", "namesake", from_("profiles").select(PROFILE).eq("id", "$namesake.user.id").single(),
        {"id": "$namesake.user.id", "username": SOMETHING}),
    Row("auth: sign out", "visitor", auth.signOut()),
    Row("auth: signed out", "visitor", auth.getSession(), {"session": None}),
))  # fmt: skip
