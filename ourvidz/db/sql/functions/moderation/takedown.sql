-- Sets an output's state to `hidden`, `restored` or `blocked`; the only writer of it. From this commit on its objects may not be read (they
-- are moved away soon after), its rows leave the library, and `moderation_status` shows it. Repeated, it changes nothing: returns false.
create or replace function ourvidz.takedown(p_subject text, p_state text, p_actor text, p_cause text, p_reviewed boolean default true) returns boolean
language plpgsql
as $$
declare
  v_row ourvidz.takedowns;
begin
  select * into v_row from ourvidz.takedowns where subject = p_subject for update;
  if v_row.state is distinct from p_state and not (v_row.state = 'blocked' and p_state = 'hidden') then
    update ourvidz.takedowns set state = p_state, cause = p_cause, reviewed = reviewed or p_reviewed, since = ourvidz.now()
    where subject = p_subject;
    perform ourvidz.takedown_objects(p_subject, p_state in ('hidden', 'blocked'));
    if v_row.state = 'blocked' then
      perform ourvidz.unblock_output(p_subject, p_actor);
    end if;
    perform ourvidz.moderated(p_state, p_actor, p_subject => p_subject, p_user => v_row.user_id, p_reason => p_cause);
    perform ourvidz.sync_takedown_rows(v_row);
    return true;
  end if;
  update ourvidz.takedowns set reviewed = true where subject = p_subject and p_reviewed and not reviewed;
  return false;
end
$$;

create or replace function ourvidz.takedown_objects(p_subject text, p_down boolean) returns void
language sql
as $$
  insert into ourvidz.taken_objects as t (bucket, path, user_id, subject, down, next_at)
  select o.bucket, o.path, o.user_id, p_subject, true, ourvidz.now() from ourvidz.objects_of(p_subject) as o where p_down
  on conflict (bucket, path) do update set subject = p_subject, down = true, tries = 0, next_at = excluded.next_at;
  update ourvidz.taken_objects set down = false, tries = 0, next_at = ourvidz.now() where not p_down and subject = p_subject;
  delete from ourvidz.taken_objects where subject = p_subject and not down and not suspended and not moved
$$;

-- Returns the objects of an output and its thumbnail, or those that a row of the legacy system names.
create or replace function ourvidz.objects_of(p_subject text) returns table (bucket text, path text, user_id uuid)
language sql stable
as $$
  -- The row by its key, then its artifacts: for a join Postgres could read the whole index of job ids (0052, rule 6).
  select a.bucket, a.path, t.user_id from (select * from ourvidz.takedowns where subject = p_subject limit 1) as t
  join public.artifacts as a on a.job_id = t.job_id and a.kind in (t.kind, 'thumbnail') and a.index = t.index
  union
  select o.bucket, o.path, t.user_id from ourvidz.takedowns as t
  cross join lateral (select to_jsonb(i) as row from public.images as i where i.id = t.row_id and t.kind = 'image'
                      union all select to_jsonb(v) from public.videos as v where v.id = t.row_id and t.kind = 'video') as shown
  cross join lateral ourvidz.row_objects(shown.row) as o where t.subject = p_subject
$$;

create or replace function ourvidz.moderated(
  p_type text, p_actor text, p_report uuid default null, p_subject text default null, p_user uuid default null, p_appeal uuid default null,
  p_reason text default null) returns void
language sql
as $$
  insert into ourvidz.moderation_events (at, type, actor, report_id, subject, user_id, appeal_id, reason)
  values (ourvidz.now(), p_type, p_actor, p_report, p_subject, p_user, p_appeal, p_reason)
$$;
