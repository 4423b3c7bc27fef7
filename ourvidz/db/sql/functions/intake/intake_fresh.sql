-- Queues new messages: all of them or none.
create or replace function ourvidz.intake_fresh(p_messages jsonb) returns jsonb
language plpgsql
as $$
begin
  perform ourvidz.check_unfinished(user_id, jobs)
  from (select (m->>'user_id')::uuid as user_id, count(*)::integer as jobs from jsonb_array_elements(p_messages) as m group by 1) as of_user;
  perform ourvidz.check_message(m) from jsonb_array_elements(p_messages) as m;
  return (
    select coalesce(jsonb_agg(jsonb_build_object('ord', p_messages->(s.ord::integer - 1)->'ord',
                                                 'outcome', case when s.created then 'drained' else 'repeated' end)), '[]')
    from ourvidz.submit_batch((
      select coalesce(jsonb_agg(m->'raw' order by n), '[]') from jsonb_array_elements(p_messages) with ordinality as given (m, n)),
      'intake', 'redis') as s);
end
$$;

-- Checks what only a message has: its queue must be its type's (the legacy list takes all), and its bucket too.
create or replace function ourvidz.check_message(p jsonb) returns void
language plpgsql stable
as $$
declare
  v_type constant text := coalesce(p->'raw'->>'type', p->'raw'->>'jobType');
  v_queue text;
begin
  select queue into v_queue from ourvidz.job_types where name = v_type;
  if v_queue <> p->>'queue' and p->>'queue' in (select queue from ourvidz.job_types) then
    raise exception '% belongs into %, not into %.', v_type, v_queue, p->>'queue' using errcode = 'OV009', column = 'type';
  elsif v_queue is not null and p->'raw'->>'bucket' <> v_type then
    raise exception 'The bucket of a % is %.', v_type, v_type using errcode = 'OV009', column = 'bucket';
  end if;
end
$$;

-- Ignores refusals, so that the intake goes on; raises any other error again, and the message stays in its queue.
create or replace function ourvidz.reraise_unless_refusal(p_state text, p_message text) returns void
language plpgsql
as $$
begin
  if p_state not like 'OV%' then
    raise exception '%', p_message using errcode = p_state;
  end if;
end
$$;
