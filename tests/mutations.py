# ruff: noqa: E501  (one mutant a line, and its SQL as it stands)
"""Mutation tests of the SQL: break one rule at a time and check that tests fail; a rule whose mutant survives is untested.

    python tests/mutations.py [name …]        default: all, some eight minutes

Each mutant is a text replacement that conftest.py applies to the schema objects in the process of that run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ourvidz.db import schema_files, schema_objects

HERE = Path(__file__).parent
VARIABLE = "OURVIDZ_MUTANT"


@dataclass(frozen=True)
class Mutant:
    part: str  # name of the SQL file
    old: str
    new: str
    tests: str  # files, without test_; of tests/db where no folder is named

    def applied(self, name: str, body: str) -> str:
        return body.replace(self.old, self.new) if f"/{name}".endswith(f"/{self.part}") else body


CLAIM_NO = "j.claim_no = given.claim_no"
TOKEN = "ourvidz.claim_token((select secret from ourvidz.executors where id = j.executor_id), j.id, j.claim_no) = given.token"
ONE_CLAIM_NO, ONE_TOKEN = CLAIM_NO.replace("given.claim_no", "p_claim"), TOKEN.replace("given.token", "p_token")
FENCE = f"{CLAIM_NO}\n        and {TOKEN}"
MUTANTS = {
    # what a session's settings change
    "a rank to few digits": Mutant("jobs_guard.sql", "set extra_float_digits = 1  -- to_jsonb", "-- to_jsonb", "settings"),
    "a row's rank goes through JSON": Mutant("jobs_ask.sql", "set extra_float_digits = 1  -- the row", "-- the row", "settings"),
    "figures as the session prints them": Mutant("event_values.sql", "set extra_float_digits = 1", "", "settings"),
    "instants in the session's zone": Mutant("event_values.sql", "to_jsonb(p at time zone 'UTC') #>> '{}' || '+00:00'", "to_jsonb(p) #>> '{}'", "settings"),
    "a regular expression with backslashes": Mutant("rpc.sql", "([0-9]+)", "(\\d+)", "settings"),
    # logins that are stolen, or ask for too much
    "names are not locked": Mutant("lock_names.sql", "order by slot for update", "order by slot", "submit"),
    "a busy reaper says nothing": Mutant("reap.sql", "busy := not found;", "busy := not found and false;", "./security/locks"),
    "speaks for others' executors": Mutant("check_executor.sql", "if v_login <> session_user and not ourvidz.operates() then", "if false then", "./security/executor_login"),
    "serves any lane": Mutant("check_executor.sql", "if not p_lanes <@ v_lanes and not ourvidz.operates() then", "if false then", "./security/executor_login"),
    "reads at any rate": Mutant("count_claims.sql", "if v_left <= 0 then", "if false then", "./security/executor_login"),
    "claims are not counted": Mutant("count_claims.sql", "if p_claims = 0 or ourvidz.operates() then", "if true then", "./security/executor_login"),
    "takes all that is left": Mutant("claim.sql", "least(p_limit, v_left)", "p_limit", "./security/executor_login"),
    "takes another's name": Mutant("register.sql", "if exists (select from ourvidz.executors where name = p_name and login <> session_user", "if exists (select from ourvidz.executors where false", "./security/executor_login"),
    "any number of executors": Mutant("register.sql", ">= v_policy.executors_per_login", ">= 1000000", "./security/executor_login"),
    "registers for ever": Mutant("register.sql", ">= v_policy.registrations_per_hour", ">= 1000000", "./security/executor_login"),
    "says as much as it likes": Mutant("register.sql", "pg_column_size(p_info) > 8192", "false", "./security/executor_login"),
    "executors do the intake's work": Mutant("grants.sql", "ourvidz.intake_users, ourvidz.now to ourvidz_intake;", "ourvidz.intake_users, ourvidz.now to ourvidz_intake, ourvidz_executor;", "./security/executor_login"),
    "an earlier release's grants stay": Mutant("grants.sql", "'public', 'ourvidz_executor', 'ourvidz_intake',", "'public',", "./security/limits"),
    "old transactions stay": Mutant("terminate_overlong_sessions.sql", "a.xact_start < clock_timestamp()", "false and a.xact_start < clock_timestamp()", "./security/limits"),
    "locks without end": Mutant("terminate_overlong_sessions.sql", "count(*) > 500", "count(*) > 500000", "./security/limits"),
    "a login's own settings stay": Mutant("set_limits.sql", "or p_reset and value <> wanted", "", "./security/limits"),
    "any number of connections": Mutant("set_limits.sql", "if v_connections is not null", "if false", "./security/limits"),
    "the reaper may end nothing": Mutant("set_limits.sql", "if not pg_has_role('ourvidz_owner', p_login, 'usage') then", "if false then", "./security/limits"),
    # bounds of what is sent and kept
    "numbers are not looked at": Mutant("check_value.sql", "where abs(n::numeric) >= 1e310 or scale(n::numeric) > 360", "where false", "security/memory"),
    "zeros with many places": Mutant("check_value.sql", " or scale(n::numeric) > 360", "", "security/memory"),
    "numbers may hide in text": Mutant("check_value.sql", "if p::text ~*", "if false and p::text ~*", "security/memory"),
    "rpcs are not bounded": Mutant("rpc.sql", "if jsonb_typeof(p_asked) = 'object' then", "if false then", "security/memory"),
    "rows are not bounded": Mutant("bound_row.sql", "  perform ourvidz.rpc('bound_row', v_row);\n", "", "security/memory"),
    "a body of any size": Mutant("before_request.sql", "(v_headers->>'content-length')::numeric > v_most", "false", "security/memory"),
    "a change of any size": Mutant("bound_row.sql", "elsif v_written > v_most then", "elsif false then", "security/memory"),
    "any number of rows": Mutant("count_rows.sql", "(c.rows > b.rows or c.bytes > b.bytes)", "(c.bytes > b.bytes)", "security/bounds"),
    "any number of bytes": Mutant("count_rows.sql", "(c.rows > b.rows or c.bytes > b.bytes)", "(c.rows > b.rows)", "security/bounds"),
    "a full library holds jobs back": Mutant("count_rows.sql", " and pg_trigger_depth() = 1", "", "security/bounds"),
    "deleted rows go on counting": Mutant("count_rows.sql", "-1, -1, 'changed'", "0, 0, 'changed'", "security/bounds"),
    "names of uploads may climb": Mutant("storage_policies.sql", "name !~ '(^|/)[.]{1,2}(/|$)'", "true", "./security/attacks"),
    "anybody learns who is an admin": Mutant("has_role.sql", "caller.role is null or", "true or", "./security/attacks"),
    "a review in another's name": Mutant("reports_admin.sql", "if new.reviewed_by is distinct from", "if false and new.reviewed_by is distinct from", "./security/attacks"),
    "registrations at once": Mutant("register.sql", "perform ourvidz.lock_names('executor', array['name ' || p_name, 'login ' || session_user]);", "", "./security/attacks"),
    "any number of uploads": Mutant("storage_policies.sql", " and (select ourvidz.may_upload())", "", "security/bounds"),
    "lists of outputs look at their jobs": Mutant("policies.sql", "('authenticated', 'artifacts', 'select', null, v_my_output)", "('authenticated', 'artifacts', 'select', null, 'deleted_at is null and ' || v_my_job)", "security/bounds"),
    # names of schedulers
    "a scheduler has one spelling": Mutant("read_names.sql", "case when w.setting in ('scheduler', 'sampler')", "case when false", "entry_points"),
    "karras is dropped": Mutant("read_names.sql", "coalesce(spaced.name, each.value)", "each.value", "entry_points"),
    "older names are out of limits": Mutant("check_settings.sql", "v_value := ourvidz.canonical_sampler(v_limit, v_value);", "", "table_copies"),
    # references
    "any slot": Mutant("check_references.sql", "if not p_kind.limits->'slots'->'in' ? v_slot", "if false", "reference_slots"),
    "any address": Mutant("check_references.sql", "<> 'string' or not (", "<> 'string' or false and not (", "reference_slots"),
    "no end of an address": Mutant("check_references.sql", "[ -~]+$'", "[ -~]+'", "reference_slots"),
    "single beside others": Mutant("check_references.sql", "p_references ? 'single' and", "false and", "reference_slots"),
    "nothing to redraw": Mutant("check_references.sql", "p_kind.init_image and not", "false and not", "reference_slots"),
    # production's users and jobs (the migrated database is made with the mutant)
    "the unverified are claimed": Mutant("claim_from_lane.sql", "\n      and ourvidz.may_run(user_id)\n    order by rank", "\n    order by rank", "security/age"),
    "an imported job is ready": Mutant("evolve.sql", "coalesce(j.ready, not it.imports)", "coalesce(j.ready, true)", "import"),
    "the verified go on waiting": Mutant("verified_follow.sql", "'run_at', ourvidz.utc_text(ourvidz.now())", "'run_at', null", "import"),
    "nobody is woken for the verified": Mutant("verified_follow.sql", "  perform ourvidz.wake(lane, count(*)) from", "  perform lane from", "import"),
    "a row makes an admin": Mutant("has_role.sql", "case when caller.user_id = _user_id and _role::text = 'admin'", "case when false", "import"),
    "users write their roles": Mutant("policies.sql", "('authenticated', 'user_roles', 'select', null, v_mine),", "('authenticated', 'user_roles', 'select', null, v_mine), ('authenticated', 'user_roles', 'insert', 'user_id, role', v_mine),", "import"),
    "roles do not follow": Mutant("roles_follow.sql", "perform ourvidz.mirror_role(new.id", "perform concat(new.id", "import"),
    "a taken username makes no profile": Mutant("new_profile.sql", "if not found then", "if false then", "import"),
    "foreign keys go on naming the older jobs": Mutant("repoint_legacy.sql", "execute format('alter table %s drop constraint", "perform format('alter table %s drop constraint", "reconcile"),
    # the fence
    "no fence": Mutant("lock_claims.sql", FENCE, "j.executor_id is not null", "claims"),
    "no fence, random lives": Mutant("lock_claims.sql", FENCE, "j.executor_id is not null", "machine"),
    "no token": Mutant("lock_claims.sql", TOKEN, "j.executor_id is not null", "claims"),
    "no claim number": Mutant("lock_claims.sql", CLAIM_NO, "true", "claims"),
    "no fence of a step": Mutant("append_one.sql", ONE_CLAIM_NO + "\n      and " + ONE_TOKEN, "j.executor_id is not null", "claims"),
    "no token for a step": Mutant("append_one.sql", ONE_TOKEN, "j.executor_id is not null", "claims"),
    "no claim number for a step": Mutant("append_one.sql", ONE_CLAIM_NO, "true", "claims"),
    "an output may slip past complete": Mutant("complete.sql", "<> v_outputs", "< 0", "claims"),
    "no fence of steps": Mutant("append_held.sql", FENCE, "j.executor_id is not null", "claims"),
    "no token for steps": Mutant("append_held.sql", TOKEN, "j.executor_id is not null", "claims"),
    "no claim number for steps": Mutant("append_held.sql", CLAIM_NO, "true", "claims"),
    # the guards
    "no guard of updates": Mutant("jobs_guard.sql", "or case when n.version = o.version", "or case when true then false when true", "guards"),
    "no guard of inserts": Mutant("jobs_guard.sql", "is not true\n  limit 1", "is null and false\n  limit 1", "guards"),
    "no guard of bare writes": Mutant("refuse_bare_write.sql", "  raise exception 'A", "  return new; raise exception 'A", "guards"),
    "history may change": Mutant("refuse_change.sql", "  raise exception", "  return null; raise exception", "guards"),
    "replica sessions write": Mutant("replica_guard.sql", "raise exception", "raise notice", "guards"),
    "a way round while it is a copy": Mutant("identity.sql", "v_server is null then\n    return false", "v_server is null then\n    return true", "guards"),
    "copies claim": Mutant("claim.sql", "  perform ourvidz.refuse_copy();\n", "", "restored"),
    "copies send": Mutant("outbox_due.sql", "perform ourvidz.refuse_copy();", "", "restored"),
    "events go back in a younger server": Mutant("advance_sequences.sql", "((v_seen >> 40) + 1 << 40) - pg_current_xact_id()::text::bigint", "0", "restored"),
    "sequences stay": Mutant("advance_sequences.sql", "if v_highest >= v_next then", "if false then", "restored"),
    "a copy sends its original's messages": Mutant("restored.sql", "update ourvidz.outbox set dead_at", "update ourvidz.outbox set last_status = 0 where false; update ourvidz.outbox set created_at", "restored"),
    "drift is not seen": Mutant("apply/02_apply.sql", "if v_number > 0 then", "if false then", "restored"),
    "a future job may be made ready": Mutant("jobs_guard.sql", "or n.ready and o.ready is not true and n.run_at > v_now", "", "guards"),
    "xids may be forged": Mutant("jobs_guard.sql", "born = n and e.xid = v_xid", "born = n", "guards"),
    # objects of what users deleted
    "removed under a hold": Mutant("removals_lease.sql", "h.user_id = r.user_id and h.lifted_at is null", "false", "./removals"),
    "removed while at work": Mutant("removals_lease.sql", "j.id = r.job_id and j.completed_at is null", "false", "./removals"),
    "removed by two": Mutant("removals_lease.sql", "for update skip locked", "", "./removals"),
    "removed from others": Mutant("removals.sql", "starts_with(shown.path, p_row->>'user_id' || '/')", "true", "./removals"),
    "removed though shown": Mutant("removals.sql", "i.image_url = shown.path", "false", "./removals"),
    "removed from public buckets": Mutant("removals.sql", "on not b.public and not b.sealed and b.name in", "on b.name in", "./removals"),
    "an artifact of a row": Mutant("removals.sql", "a.bucket = shown.bucket and a.path = shown.path", "false", "./removals"),
    "never said to be gone": Mutant("removals_lease.sql", "set gone_at = ourvidz.now() where", "set gone_at = null where", "./removals"),
    "one listens for all": Mutant("realtime_leaks.sql", "c.caller <> 'its owner'", "c.caller = 'anon'", "storage_policies"),
    "who speaks is not asked": Mutant("realtime_leaks.sql", "('a', 'speak')", "('-', 'speak')", "storage_policies"),
    # erasure
    "an erasure counts and does nothing": Mutant("erase_user_data.sql", "order by n loop", "order by n limit 3 loop", "erasure/erasure"),
    "nothing is said of what is left": Mutant("erase_user_data.sql", "if rows is distinct from 0", "if false", "erasure/erasure"),
    "left by name alone": Mutant("erase_user_data.sql", "or exists (select from pg_constraint as k", "or false and exists (select from pg_constraint as k", "erasure/erasure"),
    # policies on storage
    "leaks of whoever pays": Mutant("storage_callers.sql", "where v_known is not null", "where false", "storage_policies"),
    "leaks by user_metadata": Mutant("storage_callers.sql", "'{\"role\": \"admin\", \"admin\": true, \"is_admin\": true}'", "'{}'", "storage_policies"),
    "one failing row hides the others": Mutant("storage_probe.sql", "if jsonb_array_length(p_rows) > 1", "if false", "storage_policies"),
    "owners may overwrite": Mutant("storage_allows.sql", "('select', 'delete') end", "('select', 'delete', 'update') end", "storage_policies"),
    "private buckets of others": Mutant("storage_probes.sql", "where not coalesce(public, false)", "where false", "storage_policies"),
    "what is inserted is the owner's": Mutant("storage_leaks.sql", "when v.verb = 'insert' then jsonb_build", "when false then jsonb_build", "storage_policies"),
    "a hold keeps no objects": Mutant("storage_policies.sql", " and not (select ourvidz.on_hold())", "", "storage_policies"),
    "policies made each time": Mutant("storage_policies.sql", "obj_description(oid, 'pg_policy') = p.mark", "false", "storage_policies"),
    "the rows of buckets": Mutant("storage_attempt.sql", "select array_agg(id) into", "select null into", "storage_policies"),
    "no try as the owner": Mutant("storage_trial.sql", "or f.caller = 'its owner'", "or false and f.caller = 'its owner'", "storage_policies"),
    # the plain INSERT, and the rpc
    "the row may differ from its event": Mutant("events_apply.sql", "where ourvidz.event_columns(j) = ourvidz.event_columns(b)", "", "guards"),
    "a birth's hash": Mutant(
        "initial_job.sql",
        "and e.hash = ourvidz.event_hash(e.prev_hash, e.job_id, e.version, e.type, e.from_status, e.to_status,\n"
        "                                    e.claim_no, e.actor, e.occurred_at, e.data)",
        "",
        "guards",
    ),
    "a birth with any key": Mutant("initial_job.sql", "and e.data - t.keys = '{}'", "", "guards"),
    "a callback ends jobs": Mutant("refuse_bare_write.sql", "new.status := old.status;", "", "jobs_insert"),
    "in anybody's name": Mutant("jobs_ask.sql", "if v_me.role <> 'service_role' and", "if false and", "jobs_insert"),
    "folded columns of the client's": Mutant("check_insert_columns.sql", "     <> '{}' then", "     is null then", "jobs_insert"),
    "any status": Mutant("check_insert_columns.sql", "n.status <> 'queued'", "false", "jobs_insert"),
    "no pace for a plain insert": Mutant("jobs_ask.sql", "perform ourvidz.check_pace(v_user);", "", "jobs_insert"),
    "no pace": Mutant("check_pace.sql", "if v_wait > 0 then", "if false then", "rpc"),
    "a storm overshoots": Mutant("check_pace.sql", "select ourvidz.lock_names('pace', array[p_user::text])", "select null::void", "rpc"),
    "another's project": Mutant("check_owned.sql", "where id = a.project_id and user_id = a.user_id", "where id = a.project_id", "rpc"),
    "another's video": Mutant("check_owned.sql", "where id = a.video_id and user_id = a.user_id", "where id = a.video_id", "rpc"),
    "another's character": Mutant("check_owned.sql", "public.characters where user_id = a.user_id and", "public.characters where", "rpc"),
    "another's picture": Mutant("check_owned.sql", "v_address !~ '^[a-z]+://'", "false", "rpc"),
    "an or for admins": Mutant("policies.sql", "'user_id = (select auth.uid())'", "'(user_id = (select auth.uid()) or (select auth.role()) = ''admin'')'", "access"),
    "another's character in a project": Mutant("policies.sql", "(character_id is null or", "(true or", "access"),
    "another's project around a scene": Mutant("policies.sql", "(project_id is null or", "(true or", "access"),
    "a writing admin": Mutant("policies.sql", "('ourvidz_admin', 'profiles', 'select', null, 'true')", "('ourvidz_admin', 'profiles', 'select', null, 'true'), ('ourvidz_admin', 'profiles', 'update', 'age_verified', 'true')", "access"),
    "uploads anywhere": Mutant("storage_policies.sql", "with check (bucket_id = any (%L) and %s and", "with check (bucket_id = any (%L) and length(%L) > 0 and", "access"),
    "anyone is an admin": Mutant("before_request.sql", "-> 'app_metadata' ->> 'role'", "-> 'user_metadata' ->> 'role'", "access"),
    "another's job": Mutant("api_on_job.sql", "v_me.role is null or", "true or", "rpc"),
    # the intake
    "a message joins another's job": Mutant("intake_join.sql", "j.user_id is distinct from a.user_id\n", "false\n", "intake/intake_drain"),
    "a message joins a job of another type": Mutant("intake_join.sql", "or a.job_type is distinct from (", "or null = (", "intake/intake_drain"),
    "a message is taken in again": Mutant("intake_join.sql", "message_id = j.id and outcome in", "false and outcome in", "intake/intake_drain"),
    "a message in any queue": Mutant("intake_fresh.sql", "if v_queue <> p->>'queue' and", "if false and", "intake/intake_drain"),
    "a message's own bucket": Mutant("intake_fresh.sql", "p->'raw'->>'bucket' <> v_type", "false", "intake/intake_drain"),
    "a join with another's pictures": Mutant("intake_join.sql", "  perform ourvidz.check_references_and_settings(a, ourvidz.kind_of(a.job_type));\n", "", "intake/intake_drain"),
    "messages over the plan": Mutant("intake_fresh.sql", "perform ourvidz.check_unfinished(user_id, jobs)", "perform 1", "intake/intake_drain"),
    "trouble is a refusal": Mutant("intake_fresh.sql", "if p_state not like 'OV%' then", "if false then", "intake/intake_drain"),
    "what a message changes is not checked": Mutant("intake_settings.sql", "perform ourvidz.check_settings(", "perform concat(", "intake/intake_drain"),
    "what a message changes is not charged": Mutant("intake_settings.sql", " or v_change <> 0", "", "intake/intake_drain"),
    "what a message changes keeps its lane": Mutant("intake_settings.sql", "v_lane <> j.lane or ", "", "intake/intake_drain"),
    # the prompt dialog
    "a prompt for two enhancers": Mutant("enhancement_claim.sql", "coalesce(q.lease_until <= v_now, true)", "true", "enhancement"),
    "a late enhanced text": Mutant("enhancement_claim.sql", "lease_until = null\n  where id = p_id and claim_no = p_claim and enhanced is null and failed is null", "lease_until = null\n  where id = p_id", "enhancement"),
    "a prompt is held for the unverified": Mutant("enhancement_claim.sql", "where id = p_id and claim_no = p_claim and enhanced is null and failed is null and ourvidz.may_run(user_id);\n  return found;\nend\n$$;\n\n--", "where id = p_id and claim_no = p_claim and enhanced is null and failed is null;\n  return found;\nend\n$$;\n\n--", "security/age"),
    "an enhanced text for the unverified": Mutant("enhancement_claim.sql", " and ourvidz.may_run(user_id);\n  return found;\nend\n$$;\n\ncreate", ";\n  return found;\nend\n$$;\n\ncreate", "security/age"),
    "another's enhanced text": Mutant("api_enhancement.sql", " and user_id = ourvidz.signed_in()", "", "enhancement"),
    "a dialog for the unverified": Mutant("api_enhancement.sql", "perform ourvidz.check_verified(v_user);", "", "enhancement"),
    "a dialog without bounds": Mutant("api_enhancement.sql", "perform ourvidz.check_enhancements(v_user);", "", "enhancement"),
    "prompts of the dialog stay": Mutant("check_enhancements.sql", "where asked_at <= (select ourvidz.now() - interval '5 minutes') limit", "where false limit", "enhancement"),
    # ages
    "a decision on an age may change": Mutant("age_help.sql", "  raise exception 'A decision", "  return new; raise exception 'A decision", "ages"),
    "a refusal that does not hold": Mutant("age_request.sql", "if v_again > ourvidz.now() then", "if false then", "ages"),
    "an age without its ground": Mutant("verify_age.sql", "if length(trim(p_how)) between 1 and 500 is not true then", "if false then", "ages"),
    "a withdrawal stops nothing": Mutant("age_follow.sql", "if tg_op = 'UPDATE' and old.age_verified", "if false and old.age_verified", "security/age"),
    "a locked job is never stopped": Mutant("reap.sql", "    perform ourvidz.stop_remaining();\n", "", "security/age"),
    "the unverified go a step further": Mutant("events_apply.sql", "  if v_works then", "  if false then", "security/age"),
    "one withdrawal refuses a shared pass": Mutant("advance_batch.sql", "      where ourvidz.may_run((select user_id from public.jobs where id = g.id limit 1))", "", "security/age"),
    "a verification never runs out": Mutant("may_run.sql", "              when p.age_verified_until <= ourvidz.now() then 'expired'\n", "", "security/age"),
    "what ran out is never stopped": Mutant("reap.sql", "    perform ourvidz.age_expire();\n", "", "security/age"),
    "the unverified are rerouted": Mutant("reroute_job.sql", "if not ourvidz.may_run(j.user_id) then", "if false then", "security/age"),
    "a dialog's prompt of the unverified": Mutant("enhancement_claim.sql", " and ourvidz.may_run(q.user_id)", "", "security/age"),
    "a write leaves no decision": Mutant("age_follow.sql", "if new.erased_at is null and (coalesce", "if false and (coalesce", "security/age"),
    "anybody verifies": Mutant("verify_age.sql", "if v_me.role is not null and v_me.role <> 'service_role' and not v_me.admin then", "if false then", "security/age"),
    "a message is taken in twice": Mutant("age_message.sql", "    return jsonb_build_object('outcome', 'repeated'", "    v_outcome := 'decided'; elsif false then return jsonb_build_object('outcome', 'repeated'", "security/age_webhook"),
    "an older message wins": Mutant("age_message.sql", "    v_outcome := 'older';", "    perform ourvidz.verify_age(m.user_id, v_decision = 'verified', v_how, v_by, v_until);", "security/age_webhook"),
    "a provider turns a person's refusal over": Mutant("age_message.sql", " or v_last.decision in ('refused', 'withdrawn') and v_last.decided_by <> v_by", "", "security/age_webhook"),
    # the chain
    "no previous hash": Mutant("events_apply.sql", "and e.prev_hash = j.head_hash", "", "guards"),
    "no hash": Mutant(
        "events_apply.sql",
        "and e.hash = ourvidz.event_hash(e.prev_hash, e.job_id, e.version, e.type, e.from_status, e.to_status,\n"
        "                                        e.claim_no, e.actor, e.occurred_at, e.data)\n    ) as n",
        ") as n",
        "guards",
    ),
    "versions may have gaps": Mutant("events_apply.sql", "where e.version = j.version + 1 and", "where", "guards"),
    "events hold any key": Mutant("events_apply.sql", "and e.data - t.keys = '{}'", "", "guards"),
    "no claim number in events": Mutant(
        "events_apply.sql",
        "and e.claim_no is not distinct from\n"
        "              case when e.type = 'claimed' then j.claim_no + 1 when j.executor_id is not null then j.claim_no end",
        "",
        "guards",
    ),
    # the table
    "held or free, no matter": Mutant(
        "events_apply.sql", "and (t.before = 'any' or (t.before = 'held') = (j.executor_id is not null))", "", "transitions"
    ),
    "final failures may be retried": Mutant("events_apply.sql", "(j.final or j.hidden)", "j.hidden", "guards"),
    "a retry resets the claim number": Mutant(
        "evolve.sql", "else coalesce(j.claim_no, 0) end", "when e.type = 'retried' then 0 else coalesce(j.claim_no, 0) end", "policy"
    ),
    "a snooze spends an attempt": Mutant("evolve.sql", "when it.snoozes then j.attempts - 1", "when it.snoozes then j.attempts", "policy"),
    "two folds": Mutant("evolve.sql", "case e.type when 'artifact_uploaded' then j.uploaded + 1", "case e.type when 'artifact_uploaded' then j.uploaded", "machine"),
    # idempotency
    "a changed body is the same job": Mutant("check_same_request.sql", " or p.body_digest <> a.body_digest", "", "submit"),
    "submits do not wait for each other": Mutant("submit_batch.sql", "perform ourvidz.lock_names('submit', array(", "perform cardinality(array(", "submit"),
    "two jobs under one key of a batch": Mutant("check_requests.sql", "if cardinality(p_asked) > 1 and exists", "if false and exists", "submit"),
    "no age check": Mutant("check_requests.sql", "where not ourvidz.may_run(asked.user_id) limit 1", "where false limit 1", "security/age"),
    "another's image": Mutant("check_references_and_settings.sql", "a.video_id, a.image_id,", "a.video_id,", "rpc"),
    "no settings check": Mutant("check_references_and_settings.sql", "perform ourvidz.check_settings", "perform 1; -- ourvidz.check_settings", "submit"),
    # one normaliser for every way in
    "nothing is set aside": Mutant("read_names.sql", "then rule.reason end", "then null end", "entry_points"),
    "set aside whatever it came with": Mutant("read_names.sql", "and (rule.beside = '{}' or rule.beside && present.names)", "", "entry_points"),
    "set aside whatever its value": Mutant("read_names.sql", "and (rule.only_values is null or rule.only_values @> jsonb_build_array(m.value))", "", "entry_points"),
    "unknown names unsaid": Mutant("read_names.sql", "when m.setting in ('unknown', 'other_family') then m.setting", "when m.setting = 'other_family' then m.setting", "entry_points"),
    "metadata wins": Mutant("read_settings.sql", "order by p.layer, p.rank", "order by p.layer desc, p.rank", "entry_points"),
    "metadata's picture wins": Mutant("read_settings.sql", "order by k.ord, k.setting, k.layer desc", "order by k.ord, k.setting, k.layer", "entry_points"),
    "anybody's newest upload": Mutant("read_reference.sql", "name ~>=~ (p_user::text || '/') and name ~<~ (p_user::text || '0')", "true", "entry_points"),
    "anybody's signed URL": Mutant("read_reference.sql", " or v_parts[2] ~ ", " or false and v_parts[2] ~ ", "entry_points"),
    "weights without a limit": Mutant("weighted_prompt.sql", "m[1]::numeric > 2", "false", "entry_points"),
    "weights that are not asked for": Mutant("read_settings.sql", "s.found->'compel_enabled' = 'true' then '{}' else", "true then '{}' else", "entry_points"),
    "a dry run for anybody": Mutant("submit_dry.sql", "perform ourvidz.check_requests(v_asked, false);", "", "entry_points"),
    "a dry run beyond the balance": Mutant("submit_dry.sql", "if v_price > v_balance then", "if false then", "entry_points"),
    "a dry run beyond the plan": Mutant("submit_dry.sql", "perform ourvidz.check_pace(a.user_id);", "null;", "entry_points"),
    "rows as narrow as they were": Mutant("initial_job.sql", "ourvidz.legacy_columns(kind, words)", "'{}'::jsonb", "entry_points"),
    # what an executor is given to screen
    "texts of stale claims": Mutant("job_texts.sql", "perform ourvidz.refuse_stale(p_job, p_claim);", "null;", "job_texts"),
    "anybody's characters": Mutant("job_texts.sql", "where c.user_id = j.user_id", "where true", "job_texts"),
    "characters without tags": Mutant("job_texts.sql", ", array_to_string(c.appearance_tags, ', ')", "", "job_texts"),
    "no texts of the project's character": Mutant("job_texts.sql", "or c.id = (select p.character_id", "or null = (select p.character_id", "job_texts"),
    "no titles of images": Mutant("job_texts.sql", "(i.id = j.image_id or i.job_id = j.id)", "false", "job_texts"),
    "unsalted texts": Mutant("advance.sql", "sha256(salt || decode(p_data->>'sha256', 'hex'))", "decode(p_data->>'sha256', 'hex')", "job_texts"),
    "unsalted texts of a pass": Mutant("advance_batch.sql", "array_agg(ourvidz.salted(id, data))", "array_agg(data)", "job_texts"),
    # claims and policy
    "claims wait for each other": Mutant("claim_from_lane.sql", "for update skip locked", "for update", "claims"),
    "claims take what is locked": Mutant("claim_from_lane.sql", "for update skip locked", "", "claims"),
    "late claims of the dead stay": Mutant(
        "reap.sql", " or state = 'gone' and (select id from public.jobs where executor_id = e.id limit 1) is not null", "", "claims"
    ),
    "asynchronous claims": Mutant("claim.sql", "set local synchronous_commit = on;", "null;", "claims"),
    "the waiting are not marked": Mutant("claim.sql", "update ourvidz.executors set waiting = true", "update ourvidz.executors set waiting = false", "claims"),
    "everyone is woken": Mutant("wake.sql", "limit p_jobs for update", "limit 99 for update", "claims"),
    "an event's values are not looked at": Mutant("events_apply.sql", "ourvidz.invalid_keys(e.type, e.data) <> '{}'", "false", "security/values"),
    "columns take any text": Mutant("check_column_kinds.sql", "if v_wrong <> '{}' then", "if false then", "security/values"),
    "a stolen login names its executors": Mutant("register.sql", "case when ourvidz.operates() then p_name", "case when true then p_name", "./security/values"),
    "an unknown field is kept": Mutant("intake_record.sql", "then p_value else 'other' end", "then p_value else p_value end", "security/values"),
    "crashers may try the same one": Mutant("claim_from_lane.sql", "and (crashed_on is distinct from p_name or (select yes from alone))", "", "policy"),
    "no quarantine": Mutant("expire_claim.sql", ">= v_policy.crash_limit", "> 99", "policy"),
    "a crash is held against all": Mutant("on_device.sql", "place = 1 and ", "", "policy"),
    "a crash is held against an upload": Mutant("on_device.sql", " and status in ('enhancing', 'generating')", "", "policy"),
    "a crash is held against the first": Mutant("on_device.sql", "last.begun desc", "last.begun", "policy"),
    "a crash is held against one enhanced elsewhere": Mutant("on_device.sql", "and e.data->'on_device' is distinct from 'false'", "", "policy"),
    "bystanders wait too": Mutant("expire_claim.sql", " or p_blamed and not p_on_device", "", "policy"),
    "nobody waits after a crash": Mutant("expire_claim.sql", "p_blamed and not p_on_device", "not p_on_device", "policy"),
    "a crash forgets the cancel": Mutant("expire_claim.sql", "if j.cancel_requested then", "if false then", "policy"),
    "residents starve the others": Mutant(
        "claim.sql", "lane is distinct from v_lane and not v_lane = any (coalesce(p_resident, resident))", "lane is distinct from v_lane", "fairness"
    ),
    "affinity without a bound": Mutant("lane_order.sql", "oldest.run_at < p_patience", "false", "fairness"),
    "no fairness": Mutant("next_rank.sql", "greatest(share.finish, v_virtual) + p_jobs * step", "v_virtual", "fairness"),
    "plans do not weigh": Mutant("next_rank.sql", "1.0 / coalesce(plan.weight, 1)", "1.0", "fairness"),
    "the overdue stay so": Mutant("claim.sql", "if random() < ex.overdue_share then", "if false then", "fairness"),
    # reroutes
    "a reroute may lead anywhere": Mutant("events_apply.sql", "and (e.type <> 'rerouted' or ourvidz.may_reroute(j.job_type, e.data))", "", "reroute"),
    "a reroute forgets what was asked": Mutant("reroute_job.sql", "      metadata = metadata || ", "      metadata = coalesce(metadata, '{}') -- ", "reroute"),
    "batches are rerouted": Mutant("why_not_reroute.sql", "when not fallback.limits->'images'->'in' @> jsonb_build_array(p_settings->'images')", "when false", "reroute"),
    "outputs are left behind by a reroute": Mutant("why_not_reroute.sql", "when exists (select from public.artifacts where job_id = p_job)", "when false", "reroute"),
    "served lanes lose their jobs": Mutant("reroute_stranded.sql", "where not ourvidz.lane_served(lanes.lane, v_now) and", "where", "reroute"),
    "rerouted to nobody": Mutant("reroute_stranded.sql", " and ourvidz.lane_served(lanes.other, v_now)", "", "reroute"),
    "rerouted at once": Mutant("reroute_stranded.sql", " - make_interval(secs => v_after)", "", "reroute"),
    "what must stay fills the portion": Mutant("reroute_stranded.sql", "and ourvidz.why_not_reroute(w.id, w.job_type, p.settings) is null", "", "reroute"),
    # schema objects
    "an older release replaces a newer one": Mutant("apply/02_apply.sql", "and release > v_release", "and false", "schema_objects"),
    "what is no more stays": Mutant("apply/02_apply.sql", "when 'function' then v_functions := v_functions || v_one.oid;", "when 'function' then null;", "schema_objects"),
    "others' views are dropped along": Mutant("apply/02_apply.sql", "if v_strangers is not null then", "if false then", "schema_objects"),
    "everything is replaced": Mutant("apply/02_apply.sql", "or o.digest is distinct from w.digest\n", "or true\n", "schema_objects"),
    "policies are made again each time": Mutant("apply/02_apply.sql", "if pg_temp.object_oid('policy', v_row.name) is null\n", "if true or pg_temp.object_oid('policy', v_row.name) is null\n", "schema_objects"),
    "policies of others stay": Mutant("apply/02_apply.sql", "and format('%s on public.%s', policyname, tablename) <> all (v_there)", "and false", "migrate_check"),
    # what may follow
    "a claim does not matter to what may follow": Mutant("allowed.sql", "and (t.before = 'any' or (t.before = 'held') = p_held)", "", "transitions"),
    "a final failure may be retried, it says": Mutant("allowed.sql", "'{retried}', not p_final", "'{retried}', true", "transitions"),
    # tokens
    "a completion is not charged": Mutant("ledger_follow.sql", "when held > 0 and e.type in ('completed',", "when held > 0 and e.type in (", "ledger"),
    "a failure is not charged": Mutant("ledger_follow.sql", "e.type in ('completed', 'failed', 'cancelled') then ourvidz.charge_due", "e.type in ('completed', 'cancelled') then ourvidz.charge_due", "security/charges"),
    "a cancel is not charged": Mutant("ledger_follow.sql", "e.type in ('completed', 'failed', 'cancelled') then ourvidz.charge_due", "e.type in ('completed', 'failed') then ourvidz.charge_due", "security/charges"),
    "a short batch pays for all": Mutant("charge_due.sql", "p_held * fresh / owed end", "p_held end", "ledger"),
    "an enhancement that was not made is paid for": Mutant("charge_due.sql", "not j.enhanced and k.enhance", "false", "security/charges"),
    "thumbnails are paid for": Mutant("charge_due.sql", " and kind <> 'thumbnail'", "", "ledger"),
    "what is not uploaded is paid for": Mutant("charge_due.sql", " and uploaded_at is not null", "", "ledger"),
    "a refusal is paid for": Mutant("charge_due.sql", "case when e.type = 'failed' and", "case when false and", "security/charges"),
    "a retry pays for what is there": Mutant("charge_due.sql", "ourvidz.outputs_asked(j.id) - ourvidz.delivered(j.id)", "ourvidz.outputs_asked(j.id)", "security/charges"),
    "a retry is charged for what was there": Mutant("charge_due.sql", "coalesce((select (h.data->>'delivered')::bigint", "coalesce((select 0::bigint", "security/charges"),
    "whoever retries spends": Mutant("retry.sql", "v_charged := p_charge or", "v_charged := true or", "security/admin_actor"),
    "users retry for nothing": Mutant("retry.sql", "coalesce((ourvidz.caller()).user_id = j.user_id, false)", "false", "security/admin_actor"),
    "admins are not named": Mutant("caller.sql", "when admin and user_id", "when false and user_id", "security/admin_actor"),
    "whoever approves spends": Mutant("api_approve_preview.sql", "and not coalesce((p->>'charge')::boolean, false)", "and false", "security/admin_actor"),
    "a dearer fallback is held": Mutant("reroute_job.sql", "least(v_fallback.price - v_kind.price, 0)", "v_fallback.price - v_kind.price", "security/admin_actor"),
    "a cancel hides a refusal": Mutant("fail_attempt.sql", "and not coalesce((p_more->>'final')::boolean, false)", "", "security/charges"),
    "what was refused is not deleted": Mutant("artifacts_removed.sql", "when 'failed' then (e.data->>'final')::boolean", "when 'failed' then false", "security/charges"),
    "who moves tokens chooses a name": Mutant("issue_tokens.sql", "case when v_caller.role is null then", "case when true then", "balances"),
    # what may be read
    "outputs are read before they count": Mutant("readable.sql", " and a.uploaded_at is not null and whole.uploaded_at is not null", "", "security/readable_outputs"),
    "thumbnails are read before their outputs": Mutant("readable.sql", " and whole.uploaded_at is not null", "", "security/readable_outputs"),
    "what was refused is read": Mutant("readable.sql", " and not (j.status = 'failed' and j.final)", "", "security/readable_outputs"),
    "owners read all of their folder": Mutant("storage_policies.sql", "or ourvidz.readable(bucket_id, name)", "or true", "security/readable_outputs"),
    "rows of outputs are seen before they count": Mutant("policies.sql", "'uploaded_at is not null and deleted_at is null", "'deleted_at is null", "security/readable_outputs"),
    "policies that show what is uploading stay": Mutant("storage_allows.sql", "when 'undelivered' then false", "when 'undelivered' then true", "storage_policies"),
    "a cancelled job's pictures are not shown": Mutant("sync_images.sql", "where j.id = any (p_jobs) and not j.hidden", "where j.id = any (p_jobs) and j.status = 'completed' and not j.hidden", "security/charges"),
    "a retry takes pictures away": Mutant("pictures_of.sql", "e.type in ('failed', 'cancelled')", "false", "security/charges"),
    "a cancel gives nothing back": Mutant("ledger_follow.sql", "('completed', 'failed', 'cancelled') then held", "('completed', 'failed') then held", "ledger"),
    "a retry is free": Mutant("ledger_follow.sql", "e.type in ('submitted', 'retried') then", "e.type = 'submitted' then", "ledger"),
    "a reroute changes no hold": Mutant("ledger_follow.sql", "e.type = 'rerouted' and held > 0", "false", "ledger"),
    "jobs of before are charged by a reroute": Mutant("reroute_job.sql", "case when held = 0 then 0 else", "case when false then 0 else", "ledger"),
    "balances may fall below zero, but for a CHECK": Mutant("tokens_move.sql", "and c.amount < 0 limit 1", "and false limit 1", "ledger"),
    "transfers may be uneven": Mutant("tokens_move.sql", "if not v_even then", "if false then", "balances"),
    "accounts may be opened again": Mutant("tokens_move.sql", "elsif v_by_profile and pg_trigger_depth() < 2", "elsif false", "balances"),
    "balances may be written": Mutant("balance_guard.sql", "pg_trigger_depth() < 2 or current_user <> 'ourvidz_owner'", "false", "balances"),
    "balances may be written from a trigger": Mutant("balance_guard.sql", " or current_user <> 'ourvidz_owner'", "", "balances"),
    "users open with what they like": Mutant("balance_guard.sql", "if v_opens and v_caller.role in", "if false and v_caller.role in", "balances"),
    "everyone grants": Mutant("issue_tokens.sql", "if v_caller.role is not null and", "if false and", "balances"),
    "a key means what it will": Mutant("issue_tokens.sql", "is distinct from (p_kind, p_amount)", "is null", "balances"),
    "profiles in any order": Mutant("next_rank.sql", " for no key update of profile", "", "ledger_concurrency"),
    "a suspension reads every artifact": Mutant("suspend.sql", "= any (array(select id from public.jobs where user_id = p_user)) and num_nulls(a.deleted_at) = 1", "in (select id from public.jobs where user_id = p_user) and a.deleted_at is null", "plans"),
    "a look for removals reads those that wait": Mutant("removals_lease.sql", "(select ourvidz.now())", "ourvidz.now()", "plans"),
    "a request reads every project": Mutant("normalise_requests.sql", "where id = r.project_id and user_id = r.user_id limit 1", "where id = r.project_id and user_id = r.user_id", "plans"),
    "remarks are made twice": Mutant("annotate.sql", "limit 1) is null;", "limit 0) is null;", "commit_outcomes"),
    # scenes
    "an older job shows on a scene": Mutant("newest_stage_job.sql", "order by j.created_at desc, first.seq desc", "order by j.created_at, first.seq", "scenes"),
    "another's job moves a scene": Mutant("newest_stage_job.sql", " and j.user_id = v.user_id", "", "scenes"),
    # the library
    "a link may be set again": Mutant("may_change_library.sql", "and (p_data->>'image_id' is null or j.image_id is null)", "", "library"),
    "an unfinished job may be deleted": Mutant("remove_from_library.sql", "elsif j.completed_at is null then", "elsif false then", "library"),
    "an event deletes an unfinished job": Mutant("may_change_library.sql", " and j.completed_at is not null", "", "library"),
    "a deleted job is retried": Mutant("events_apply.sql", "(j.final or j.hidden)", "j.final", "library library_races"),
    "another's image is linked": Mutant("link.sql", "where id = p_video and user_id = j.user_id", "where id = p_video", "library"),
    "a row names another's job": Mutant("images_check_insert.sql", " and user_id = (p->>'user_id')::uuid and not hidden", "", "library"),
    "a row says that it is done": Mutant("images_check_insert.sql", """p || '{"status": "queued", """, """p || '{""", "library"),
    "the made row stays": Mutant("images_check_insert.sql", "  delete from public.images where id = any (v_made);\n", "", "library"),
    "an end is not seen by a late row": Mutant("images_check_insert.sql", "not hidden for share;", "not hidden;", "library_races"),
    "a change leaves the end out": Mutant("images_check_insert.sql", "    perform ourvidz.sync_images(array[new.job_id]);\n", "", "library library_races"),
    "a row that is deleted is waited for": Mutant("sync_images.sql", "for no key update skip locked", "for no key update", "library_races"),
    "a film that is deleted is waited for": Mutant("sync_videos.sql", "order by id for no key update skip locked", "order by id for no key update", "library_races"),
    "a deleted picture comes back": Mutant("events_apply.sql", "    perform ourvidz.artifacts_removed(v_ended);\n", "", "library"),
    "a deleted picture keeps its object": Mutant("images_removed.sql", "      perform ourvidz.artifacts_removed(array[j.id]);\n", "", "library"),
    "a failed job's rows wait for ever": Mutant("sync_images.sql", "when j.completed_at is not null then 'failed'", "when j.completed_at is not null then r.status", "library"),
    "a user sets any status": Mutant("jobs_change.sql", "if v_status in ('cancelled', 'failed') then", "if v_status is not null then", "library"),
    "a user retries by status": Mutant("jobs_change.sql", "v_status = 'queued' and v_me.admin", "v_status = 'queued'", "library"),
    "a user writes an error message": Mutant("jobs_change.sql", "if p ? 'error_message' and v_me.admin then", "if p ? 'error_message' then", "library"),
    "a deleted job is still seen": Mutant("policies.sql", "('authenticated', 'jobs', 'select', null, v_mine || ' and not hidden')", "('authenticated', 'jobs', 'select', null, v_mine)", "library"),
    "a deleted job still answers": Mutant("api_on_job.sql", " and not hidden)", ")", "library"),
    "Realtime's trouble is the job's": Mutant("live_follow.sql", "exception when others then\n  raise warning", "exception when others then\n  raise exception", "live_status"),
    "Realtime is told everybody's": Mutant("live_follow.sql", "'jobs:' || j.user_id", "'jobs:all'", "live_status"),
    "scenes may be written by hand": Mutant("videos_guard.sql", "current_user <> 'ourvidz_owner'", "false", "scenes"),
    "two may approve at once": Mutant("lock_scene.sql", "perform ourvidz.lock_names", "-- perform ourvidz.lock_names", "scenes"),
    "anyone's scene may be approved": Mutant("lock_scene.sql", "(user_id = v_caller.user_id or", "(true or", "scenes"),
    # reports, takedowns, blocks, suspensions
    "reports without end": Mutant("report_limits.sql", "if v_filed > (select reports_a_day from ourvidz.policy)", "if false", "security/reports"),
    "one kind crowds out the others": Mutant("report_limits.sql", ">= p_rule.per_hour then", ">= 1000000 then", "security/reports"),
    "a source hides as much as it likes": Mutant("report_limits.sql", "returning s.hides <= (select report_hides_a_day from ourvidz.policy)", "returning true", "security/reports"),
    "one source is itself tomorrow": Mutant("report_limits.sql", "sha256(salt || decode(p_source, 'hex'))", "decode(p_source, 'hex')", "security/reports"),
    "salts are kept": Mutant("report_limits.sql", "delete from ourvidz.report_salts where day < v_day - 1;", "", "security/reports"),
    "an unsigned request hides": Mutant("report_file.sql", "p_rule.hides = 'valid' and p_valid and", "p_rule.hides = 'valid' and", "security/reports"),
    "reports undo a decision": Mutant("report_file.sql", "if p_taken.state = 'reported' and not p_taken.reviewed\n     and (", "if (", "security/reports"),
    "anyone moderates": Mutant("reports_admin.sql", "if not (select admin or role = 'service_role' from ourvidz.caller()) then", "if false then", "security/reports"),
    "a dismissal frees what another report holds": Mutant("report_act.sql", "and not (p_verb = 'dismiss' and ourvidz.held_down(v_report.subject, p_report))", "", "security/reports"),
    "a hide undoes a block": Mutant("takedown.sql", "and not (v_row.state = 'blocked' and p_state = 'hidden')", "", "security/reports"),
    "a restored picture stays blocked": Mutant("takedown.sql", "if v_row.state = 'blocked' then", "if false then", "security/reports"),
    "a taken picture is read": Mutant("storage_policies.sql", " and not ourvidz.is_withheld(bucket_id, name)'", "'", "security/reports"),
    "a suspended user reads": Mutant("storage_policies.sql", "'not (select ourvidz.am_suspended()) and ", "'", "security/reports"),
    "a taken picture is in the library": Mutant("policies.sql", "('authenticated', 'images', 'select', null, v_mine || ' and not taken_down')", "('authenticated', 'images', 'select', null, v_mine)", "security/reports"),
    "a taken picture's later row is shown": Mutant("sync_images.sql", "  perform ourvidz.images_taken(p_jobs);\n", "", "security/reports"),
    "evidence is deleted": Mutant("removals_lease.sql", "      and (select t.path from ourvidz.taken_objects as t where (t.bucket, t.path) = (r.bucket, r.path)) is null\n", "", "security/reports"),
    "a taken picture is a reference": Mutant("origins.sql", "\n                   and not a.taken_down)", ")", "security/reports"),
    "the suspended go on": Mutant("may_run.sql", "when ourvidz.is_suspended(why_not_run.user_id) then 'suspended' end", "end", "security/reports"),
    "no second look at a suspended user's folders": Mutant("suspension_sweeps.sql", "case when sweeps = 0 then ourvidz.now() + interval '20 minutes' end", "null", "security/reports"),
    "anyone appeals": Mutant("appeals.sql", "where subject = v_output.subject and user_id = v_user and state", "where subject = v_output.subject and state", "security/reports"),
    "what looks the same passes": Mutant("blocks.sql", "<= (select pdq_distance from ourvidz.policy)", "< 0", "security/reports"),
    "copies stay up": Mutant("block_output.sql", "perform ourvidz.takedown(v_copy.subject, 'hidden', p_actor, 'copy')", "perform concat(v_copy.subject)", "security/reports"),
    "texts are kept for ever": Mutant("reap.sql", "  perform ourvidz.reports_forget();\n", "", "security/reports"),
    # consent, refusals, holds, erasure
    "anybody's consent": Mutant("origins.sql", "not exists (select from public.consents where user_id = p_user and sha256", "not exists (select from public.consents where sha256", "consent"),
    "a withdrawn consent": Mutant("origins.sql", "sha256 = p_sha256 and withdrawn_at is null)", "sha256 = p_sha256)", "consent"),
    "anybody's picture": Mutant("origins.sql", "a.sha256 = p_sha256 and j.user_id = p_user", "a.sha256 = p_sha256", "consent"),
    "a parent's consent forgotten": Mutant("origins.sql", "on made.sha256 = came.sha256", "on false", "security/attestation"),
    "the asker's consent for all": Mutant("origins.sql", "select maker.user_id, used.sha256", "select came.user_id, used.sha256", "security/attestation"),
    "older outputs are free": Mutant("origins.sql", "settings->'references' <> '{}'", "false", "security/attestation"),
    "older outputs are bound by all": Mutant("origins.sql", "c.attested_at <= coalesce(maker.completed_at, ourvidz.now())", "true", "security/attestation"),
    "any depth passes": Mutant("origins.sql", "when count(*) > 1000 then 'too_deep'", "", "security/attestation"),
    "what was shown is forgotten": Mutant("check_consent.sql", "insert into ourvidz.job_references (job_id, sha256, seen_at) values (p_job, p_sha256, ourvidz.now()) on conflict do nothing;", "", "security/attestation"),
    "no second look": Mutant("check_consent.sql", "perform ourvidz.refuse_unconsented(v_user, sha256) from", "perform concat(v_user, sha256) from", "security/attestation"),
    "an output is no reference": Mutant("check_pictures.sql", "perform ourvidz.refuse_unconsented(a.user_id, v_sha256)", "perform concat(a.user_id, v_sha256)", "security/attestation"),
    "pictures nobody would look at": Mutant("check_pictures.sql", "elsif ourvidz.all_refuse_pictures(a.lane) then", "elsif false then", "security/image_screen"),
    "a picture called an output": Mutant("check_consent.sql", "return ourvidz.is_made_for(v_user, p_sha256);", "return true;", "security/image_screen"),
    "consent for a stale claim": Mutant("check_consent.sql", "= '{}' then", "= '{}' and false then", "consent"),
    "refusals without end": Mutant("report_refusal.sql", "count(*) >= 20", "count(*) >= 2000", "consent"),
    "a digest without salt": Mutant("report_refusal.sql", "sha256(v_salt || decode(p_digest, 'hex'))", "decode(p_digest, 'hex')", "consent"),
    "every failure a refusal": Mutant("screenings_follow.sql", " and e.data ? 'policy_version'", "", "consent"),
    "erased under a hold": Mutant("erase_begin.sql", "user_id = p_user and lifted_at is null) then", "false) then", "erasure/erasure"),
    "updated rows compared with each other": Mutant("jobs_guard.sql", "full join before_rows", "left join before_rows", "many_rows"),
    "look-ups may read whole tables": Mutant("planner.sql", " set enable_seqscan = off set jit", " set jit", "many_rows"),
    "all held entries read for a job": Mutant("ledger_follow.sql", "from ourvidz.token_entries where job_id = e.job_id", "from ourvidz.token_entries where job_id = e.job_id and account = 'held'", "many_rows"),
    "all that waits sorted for a rank": Mutant("next_rank.sql", "set enable_sort = off", "", "many_rows"),
    "all that waits sorted for a claim": Mutant("claim_from_lane.sql", "set enable_sort = off", "", "many_rows"),
    "all pictures read for one": Mutant("sync_images.sql", "(select true from public.images as i where i.job_id = j.id and coalesce(i.image_index, 0) = made.index limit 1) is null", "not exists (select from public.images as i where i.job_id = j.id and coalesce(i.image_index, 0) = made.index)", "many_rows"),
    "all outputs read for a job's": Mutant("artifacts_removed.sql", "num_nulls(a.deleted_at) = 1", "a.deleted_at is null", "many_rows"),
    "all jobs read for a picture": Mutant("removals.sql", "where id = (p_row->>'job_id')::uuid", "where id::text = p_row->>'job_id'", "many_rows"),
    "a salt that stays": Mutant("erase_user_data.sql", "jsonb_each_text(r.blank))", "jsonb_each_text(r.blank) where key <> 'salt')", "erasure/erasure"),
    "submitted past an erasure": Mutant("check_requests.sql", "order by id for key share", "order by id", "erasure/races"),
    "attested past an erasure": Mutant("attest.sql", "is null for key share", "is null", "erasure/races"),
    "late words kept": Mutant("drop_erased_text.sql", "erased_at is not null", "false", "erasure/erasure"),
    "counts that start over": Mutant("erase_begin.sql", "select * from jsonb_each_text(e.counts) union all ", "", "erasure/erasure"),
}  # fmt: skip


def mutated(parts: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the schema objects' SQL, with the mutant that the environment names applied, if it names one."""
    mutant = MUTANTS.get(os.environ.get(VARIABLE, ""))
    for name, body in parts:
        yield name, mutant.applied(name, body) if mutant else body


def files(mutant: Mutant) -> list[Path]:
    return [HERE / (folder or "db") / f"test_{file}.py" for folder, _, file in (t.rpartition("/") for t in mutant.tests.split())]


def stale() -> list[str]:
    """Return the mutants that change nothing, or whose test files do not exist: running these would prove nothing."""
    bodies = dict(schema_files.parts()) | dict(schema_objects.scripts())
    return [
        name
        for name, m in MUTANTS.items()
        if all(m.applied(part, body) == body for part, body in bodies.items()) or not all(f.is_file() for f in files(m))
    ]


def killed(name: str) -> tuple[str, float]:
    """Return the first test that failed ("" if none did) and the seconds it took. Raises SystemExit if the tests did not run."""
    tests = map(str, files(MUTANTS[name]))
    run = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "--no-header", "--timeout=60", *tests]
    started = time.monotonic()
    done = subprocess.run(run, env={**os.environ, VARIABLE: name}, capture_output=True, text=True, check=False, cwd=HERE.parent)
    by = [line.removeprefix("FAILED ").split(" - ")[0].split("::")[-1] for line in done.stdout.splitlines() if line.startswith("FAILED")]
    # A fixture that looks at the end may fail besides; an error alone is a run that did not take place.
    if done.returncode != len(by) or (not by and "\nERROR " in done.stdout):
        raise SystemExit(f"{name}: the tests did not run.\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")
    return (by or [""])[0], time.monotonic() - started


def main(wanted: list[str]) -> int:
    if found := stale():
        print(f"These change no SQL, or name test files that do not exist; point them at the guard again: {', '.join(found)}")
        return 1
    wanted, survived = wanted or list(MUTANTS), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each is a process that waits for its server half of the time
        for name, (by, seconds) in zip(wanted, pool.map(killed, wanted), strict=True):
            print(f"{name}: {f'killed by {by}' if by else 'SURVIVED'}, {seconds:.0f} s", flush=True)
            survived += [] if by else [name]
    print(f"{len(survived)} survived: {', '.join(survived)}" if survived else "None survived.")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
