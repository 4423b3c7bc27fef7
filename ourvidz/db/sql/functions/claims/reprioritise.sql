-- Moves a waiting job forwards or backwards in its lane, by the difference between the head starts of the two priorities.
create or replace function ourvidz.reprioritise(p_job uuid, p_priority integer, p_version integer default null, p_actor text default null)
returns integer
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  j public.jobs := ourvidz.lock_at_version(p_job, p_version);
begin
  if p_priority not between 0 and 7 then
    raise exception 'A priority is 0 to 7; % is not.', p_priority using errcode = 'OV009', column = 'priority';
  end if;
  perform ourvidz.append(array[p_job], 'reprioritised',
    array[jsonb_build_object('priority', p_priority,
                             'rank', ourvidz.json_number(j.rank - ourvidz.priority_offset(j.priority) + ourvidz.priority_offset(p_priority)))],
    coalesce(p_actor, ourvidz.actor(j.user_id)));
  return j.version + 1;
end
$$;
