-- Sends live status through Supabase's Realtime: a message on the user's private channel (jobs:<user id>) for every status change and every
-- output. Only ids, words and numbers, never a text. Realtime's errors only warn and never fail the job: the rows say the same.
create or replace function ourvidz.live_follow(p_events public.job_events[]) returns void
language plpgsql
as $$
begin
  perform ourvidz.realtime_send(jsonb_build_object(
            'job_id', j.id, 'event', e.type, 'status', e.to_status, 'version', e.version, 'job_type', j.job_type, 'image_id', j.image_id,
            'video_id', j.video_id, 'generated', made.generated, 'uploaded', made.uploaded, 'total', coalesce(asked.total, 1)), 'jobs:' || j.user_id)
  from unnest(p_events) as e
  cross join lateral (select * from public.jobs where id = e.job_id limit 1) as j
  left join lateral (select (settings->>'images')::integer as total from public.job_payloads where job_id = e.job_id limit 1) as asked on true
  cross join lateral (
    select count(*) as generated, count(*) filter (where uploaded_at is not null) as uploaded
    from public.artifacts where job_id = e.job_id and kind <> 'thumbnail'
  ) as made
  where e.from_status is distinct from e.to_status or e.type in ('artifact_generated', 'artifact_uploaded', 'cancel_requested', 'linked');
exception when others then
  raise warning 'Realtime was not told: %', sqlerrm;
end
$$;

-- Owned by the migrating role, the only one of ours that may send there (on Supabase: postgres); ourvidz_owner owns the rest (own.sql).
create or replace function ourvidz.realtime_send(p_payload jsonb, p_topic text) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ begin perform realtime.send(p_payload, 'job', p_topic, true); end $$;
