-- Supabase's default privileges grant every new table and function to its API roles; here they get only what is granted below or in
-- policies.sql, and ours lose what an earlier release granted. Executors write only through functions; they and analysts read events and
-- numbers, and no prompt (a claim returns its own).
do $$
declare
  v_role text;
begin
  foreach v_role in array array['anon', 'authenticated', 'service_role', 'ourvidz_admin', 'public', 'ourvidz_executor', 'ourvidz_intake',
                                'ourvidz_deliverer', 'ourvidz_analyst'] loop
    execute format('revoke all on schema ourvidz from %1$s; revoke all on all functions in schema ourvidz from %1$s; '
                   'revoke all on all tables in schema ourvidz from %1$s; revoke all on all sequences in schema ourvidz from %1$s; '
                   'revoke all on sequence public.job_events_seq_seq from %1$s', v_role);
    execute (select string_agg(format('revoke all on public.%I from %s;', name, v_role), ' ')
             from unnest(ourvidz.our_relations()) as name where to_regclass('public.' || name) is not null);
    execute coalesce((select string_agg(format('revoke all on function %s from %s;', oid::regprocedure, v_role), ' ')
                      from pg_proc where pronamespace = 'public'::regnamespace and proname = any (ourvidz.our_functions())), 'select');
  end loop;
end
$$;

grant execute on function ourvidz.realtime_send, ourvidz.newest_upload to ourvidz_owner;
grant usage on schema ourvidz to ourvidz_executor, ourvidz_intake, ourvidz_deliverer, ourvidz_analyst;
grant execute on function
  ourvidz.register, ourvidz.heartbeat, ourvidz.jobs_of_executor, ourvidz.claim, ourvidz.advance, ourvidz.advance_batch, ourvidz.enhanced,
  ourvidz.artifact_generated, ourvidz.artifact_uploaded, ourvidz.complete, ourvidz.complete_batch, ourvidz.fail, ourvidz.snooze,
  ourvidz.honour_cancel, ourvidz.reap, ourvidz.executor_gone, ourvidz.on_device, ourvidz.drain, ourvidz.lane_order,
  ourvidz.check_consent, ourvidz.check_blocked, ourvidz.job_texts, ourvidz.now
to ourvidz_executor;

-- A separate role, which a host of executors need not have: a deliverer sends messages and records their outcome, deletes what users
-- deleted, and changes no receiver.
grant execute on function ourvidz.outbox_due, ourvidz.outbox_take, ourvidz.outbox_sent, ourvidz.outbox_unsent, ourvidz.outbox_prune,
  ourvidz.removals_lease, ourvidz.removals_done, ourvidz.quarantine_lease, ourvidz.quarantine_moved, ourvidz.suspensions_take,
  ourvidz.suspension_found, ourvidz.suspension_swept, ourvidz.now
to ourvidz_deliverer;
grant select on ourvidz.outbox, ourvidz.receivers, ourvidz.removals to ourvidz_deliverer, ourvidz_executor;  -- executor: for `doctor`
-- An analyst reads no text (state/kinds.py): neither a receiver's answer, nor an unsalted digest that tells whether a text is known.
grant select (id, receiver, job_id, job_version, status, created_at, attempts, next_at, delivered_at, dead_at, last_status)
on ourvidz.outbox to ourvidz_analyst;
grant select (name, events, enabled, exhausted, disabled_at) on ourvidz.receivers to ourvidz_analyst;

-- Executors that have the enhancer's model answer the prompt dialog.
grant execute on function ourvidz.enhancement_claim, ourvidz.enhancement_heartbeat, ourvidz.enhancement_finish to ourvidz_executor;

-- The intake queues jobs in the name of whoever a message names, as anybody with Upstash's token can.
grant execute on function ourvidz.intake, ourvidz.intake_record, ourvidz.intake_forget, ourvidz.intake_users, ourvidz.now to ourvidz_intake;
grant select on ourvidz.intake_counts, ourvidz.intake_messages to ourvidz_intake, ourvidz_executor;
grant select on ourvidz.intake_counts to ourvidz_analyst;
grant select (seq, at, queue, outcome, message_id, reason, field) on ourvidz.intake_messages to ourvidz_analyst;

grant execute on function ourvidz.job_as_of, ourvidz.now to ourvidz_analyst;
-- Only names of tables, which database this is, and how far its events are settled: for `ourvidz doctor`, which is also the container's
-- health check, and for readers of events.
grant execute on function ourvidz.our_relations, ourvidz.unlimited_logins, ourvidz.oldest_served, ourvidz.is_copy, ourvidz.settled_xid
to ourvidz_executor, ourvidz_intake, ourvidz_deliverer, ourvidz_analyst;
grant select on ourvidz.policy, ourvidz.schema_objects, ourvidz.catalog_states, ourvidz.identities, ourvidz.alembic_version, ourvidz.column_kinds to ourvidz_intake, ourvidz_deliverer;
grant select on public.job_timeline, public.queue_depth, public.job_durations to ourvidz_analyst;

-- Both read events and numbers. Executors look up whether an event was written whose answer was lost, and what is left to upload.
grant select on public.job_events, public.queue_depth, ourvidz.policy, ourvidz.schema_objects, ourvidz.catalog_states, ourvidz.identities, ourvidz.alembic_version, ourvidz.column_kinds
to ourvidz_executor, ourvidz_analyst;
grant select on public.artifacts to ourvidz_executor;
-- Which executors are alive, for supervisors and people who watch. Without the secret from which claim tokens are computed.
grant select (id, name, called, host, pid, lanes, resident, state, waiting, lane, lane_since, started_at, beat_at, lease_until, info,
  reference_pictures)
on ourvidz.executors to ourvidz_executor;
grant select (id, called, pid, lanes, resident, state, waiting, lane, lane_since, started_at, beat_at, lease_until,
  reference_pictures)
on ourvidz.executors to ourvidz_analyst;

-- The API roles' rights on tables are in policies.sql.
grant usage on schema public to anon, authenticated, service_role, ourvidz_admin;
grant select on public.job_timeline, public.job_durations to authenticated, ourvidz_admin;
grant execute on function public.queue_job, public.cancel_job, public.retry_job, public.approve_preview, public.job_status,
  public.attest_consent, public.withdraw_consent, public.ask_enhancement, public.enhancement, public.age_status,
  public.request_age_review, public.report_refusal
to authenticated, service_role, ourvidz_admin;
grant execute on function public.job_types, public.before_request, public.request_bytes, public.has_role
to anon, authenticated, service_role, ourvidz_admin;
-- Reports come only with the service key: the edge function knows their sender and limits them.
grant execute on function public.file_report to service_role;
grant execute on function public.my_restrictions, public.appeal to authenticated, ourvidz_admin;
grant execute on function public.report_queue, public.moderate to service_role, ourvidz_admin;
-- Admins and the service key decide on ages; a provider's messages come only with the service key.
grant execute on function public.verify_age to service_role, ourvidz_admin;
grant execute on function public.age_message to service_role;
-- Called by policies on storage.objects as the requesting role.
grant execute on function ourvidz.on_hold, ourvidz.am_suspended, ourvidz.is_withheld, ourvidz.readable, ourvidz.may_upload to authenticated;
-- Called by the admin policies (policies.sql).
grant execute on function ourvidz.admin_reads to ourvidz_admin;
grant execute on function public.read_prompt to service_role, ourvidz_admin;
grant select on ourvidz.fleet to ourvidz_executor, ourvidz_analyst;
