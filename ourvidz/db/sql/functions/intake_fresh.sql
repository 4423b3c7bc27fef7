-- New messages in one go: all of them or none.
create or replace function ourvidz.intake_fresh(p_messages jsonb) returns jsonb
language plpgsql
as $$
begin
  perform ourvidz.check_unfinished(user_id, jobs)
  from (select (m->>'user_id')::uuid as user_id, count(*)::integer as jobs from jsonb_array_elements(p_messages) as m group by 1) as of_user;
  return (
    select coalesce(jsonb_agg(jsonb_build_object('ord', p_messages->(s.ord::integer - 1)->'ord',
                                                 'outcome', case when s.created then 'drained' else 'repeated' end)), '[]')
    from ourvidz.submit_batch((
      -- Whose project, video and pictures they are is asked here, as at every door; the settings are those that were resolved.
      select coalesce(jsonb_agg(ourvidz.check_owned(m) || jsonb_build_object('settings', m->'settings') - '{ord,told,digest}'::text[] order by n), '[]')
      from jsonb_array_elements(p_messages) with ordinality as given (m, n)), 'intake') as s);
end
$$;

-- Goes on where a message was refused; whatever else went wrong is raised again, and the message stays where it is.
create or replace function ourvidz.only_refusals(p_state text, p_message text) returns void
language plpgsql
as $$
begin
  if p_state not like 'OV%' then
    raise exception '%', p_message using errcode = p_state;
  end if;
end
$$;
