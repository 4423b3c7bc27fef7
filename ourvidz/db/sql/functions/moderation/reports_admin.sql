-- Lists the report queue for admins (rpc; moderate too). The texts of a report are read one at a time, and that is recorded.
create or replace function public.report_queue(closed boolean default false) returns jsonb
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.rpc('report_queue', jsonb_build_object('closed', closed)) $$;

create or replace function public.moderate(verb text, report uuid default null, output text default null) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.rpc('moderate', jsonb_build_object('verb', verb, 'report', report, 'output', left(moderate.output, 501)))
$$;

create or replace function ourvidz.api_report_queue(p jsonb) returns jsonb
language plpgsql stable
as $$
begin
  perform ourvidz.moderator();
  return coalesce((
    select jsonb_agg(to_jsonb(r) || jsonb_build_object('state', t.state, 'overdue', r.closed_at is null and r.due_at < ourvidz.now())
                     order by r.due_at)
    from (select * from ourvidz.reports where (closed_at is not null) = (p->>'closed')::boolean order by due_at limit 500) as r
    left join ourvidz.takedowns as t on t.subject = r.subject), '[]');
end
$$;

create or replace function ourvidz.api_moderate(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_actor constant text := ourvidz.moderator();
  v_report constant uuid := p->>'report';
begin
  if v_report is null then
    return to_jsonb(ourvidz.output_act(p->>'output', p->>'verb', v_actor, 'admin'));
  end if;
  return to_jsonb(ourvidz.report_act(v_report, p->>'verb', v_actor))
      || coalesce((select to_jsonb(texts) - '{id,user_id}'::text[] from ourvidz.report_payloads as texts where id = v_report), '{}');
end
$$;

-- Returns the actor to record for an admin's decision. Refuses everybody else.
create or replace function ourvidz.moderator() returns text
language plpgsql stable
as $$
begin
  if not (select admin or role = 'service_role' from ourvidz.caller()) then
    raise exception 'Only an admin may do this.' using errcode = 'OV017';
  end if;
  return ourvidz.actor();
end
$$;

-- Applies moderation_status, as the admin pages set it on a picture, like any other decision: rejected hides it, approved restores it.
create or replace function ourvidz.image_moderated() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  perform ourvidz.output_act(new.id::text, case new.moderation_status when 'rejected' then 'hide' else 'restore' end,
                             ourvidz.actor(), 'admin');
  return null;
end
$$;

-- Requires reviewed_by to be the caller: nobody signs a review for somebody else.
create or replace function ourvidz.image_reviewed() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  if new.reviewed_by is distinct from (select user_id from ourvidz.caller()) then
    raise exception 'A review is signed in one''s own name only.' using errcode = 'OV017', column = 'reviewed_by';
  end if;
  return new;
end
$$;
