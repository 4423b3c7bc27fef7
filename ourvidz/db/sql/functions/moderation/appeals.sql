-- Lists the restrictions on the caller's outputs and account, and the state of their appeals.
create or replace function public.my_restrictions() returns jsonb
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.rpc('my_restrictions', '{}') $$;

-- Files the one appeal against a hidden output or, without `output`, against the caller's own suspension.
create or replace function public.appeal(said text, output text default null) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.rpc('appeal', jsonb_build_object('said', left(appeal.said, 2001), 'output', left(appeal.output, 501))) $$;

create or replace function ourvidz.api_my_restrictions(p jsonb) returns jsonb
language sql stable
as $$
  select jsonb_build_object(
    'suspended', (select jsonb_build_object('since', s.since, 'appeal', ourvidz.appeal_seen(a)) from ourvidz.suspensions as s
                  left join ourvidz.appeals as a on a.suspension = s.id where s.user_id = me.id and s.lifted_at is null),
    'outputs', coalesce((
      select jsonb_agg(jsonb_build_object('output', coalesce(t.job_id || '.' || t.index, t.row_id::text), 'kind', t.kind, 'since', t.since,
                                          'appeal', ourvidz.appeal_seen(a)) order by t.since desc)
      from (select * from ourvidz.takedowns where user_id = me.id and state in ('hidden', 'blocked') order by since desc limit 200) as t
      left join ourvidz.appeals as a on a.subject = t.subject), '[]'))
  from (select ourvidz.signed_in() as id) as me
$$;

create or replace function ourvidz.appeal_seen(a ourvidz.appeals) returns jsonb
language sql immutable
as $$ select case when a.id is not null then jsonb_build_object('asked_at', a.asked_at, 'decision', a.decision, 'decided_at', a.decided_at) end $$;

create or replace function ourvidz.api_appeal(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_user constant uuid := ourvidz.signed_in();
  v_output constant ourvidz.takedowns := ourvidz.output_of(p->>'output');
  v_subject text;
  v_suspension uuid;
  v_made ourvidz.appeals;
begin
  if length(trim(p->>'said')) between 1 and 2000 is not true then
    raise exception 'Say why, in 1 to 2,000 characters.' using errcode = 'OV009', column = 'said';
  end if;
  perform from public.profiles where id = v_user and erased_at is null for key share;
  select subject into v_subject from ourvidz.takedowns
  where subject = v_output.subject and user_id = v_user and state in ('hidden', 'blocked');
  select id into v_suspension from ourvidz.suspensions where user_id = v_user and lifted_at is null and p->>'output' is null;
  if num_nonnulls(v_subject, v_suspension) = 0 then
    raise exception 'There is nothing of yours to appeal against.' using errcode = 'OV018', column = 'output';
  end if;
  insert into ourvidz.appeals (user_id, subject, suspension, asked_at) values (v_user, v_subject, v_suspension, ourvidz.now())
  on conflict do nothing returning * into v_made;
  if not found then
    raise exception 'You have appealed against this already: an operator decides.' using errcode = 'OV001';
  end if;
  insert into ourvidz.report_payloads (id, user_id, said) values (v_made.id, v_user, trim(p->>'said'));
  perform ourvidz.moderated('appealed', 'person:' || v_user, p_subject => v_subject, p_user => v_user, p_appeal => v_made.id);
  return ourvidz.appeal_seen(v_made);
end
$$;
